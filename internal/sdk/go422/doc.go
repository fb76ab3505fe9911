// Package go422 runs firebase-admin-go 4.22, which has both APIs, against the emulator, and
// puts bulksub beside it.
package go422
