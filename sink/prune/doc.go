// Package prune takes the rows whose token the service says is gone out of a table, or
// marks them there, and brings them back. A [Pruner] does so for one job of the ledger
// that package sink keeps.
//
//   - Only a row that still holds the token that was judged is touched, and in the same
//     statement the whole row goes into bulksub.pruned, each column as the text that
//     Postgres writes for it and reads back as the same value (P4). What a deleted row takes
//     with it in other tables (on delete cascade) is not archived.
//   - Above a limit nothing goes at all ([BrakeError]), unless a person lets it go.
//   - A transaction takes at most 1,000 rows; a run that was cut short is finished by
//     pruning again.
//   - The [sink.Fence] of the job's end comes before each of them: a process from which another has
//     taken the end over prunes nothing more (P9).
package prune
