// Package validate holds the manifests of deploy/kubernetes to the API server's own
// rules. It has a module of its own, so that Kubernetes does not come into the graph
// of bulksub's.
package validate
