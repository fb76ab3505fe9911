// Package go421 runs firebase-admin-go 4.21, the last before the successor of the Instance ID
// API, against the emulator.
package go421
