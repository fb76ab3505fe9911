// Package postgres is what the Postgres source and the Postgres sink share: how
// to connect, what a relation that holds tokens looks like, and which errors
// pass by themselves.
package postgres
