// Package fcm lets the pipeline speak to the FCM Topic Subscription API, as package iid does
// to the Instance ID API: the same actions, statuses and errors, with one token in a call.
package fcm
