// Package iid lets the pipeline speak to the Instance ID service: it makes a call
// of package iidclient for a batch of package pipeline, and says what each answer
// means for a row or for the job.
package iid
