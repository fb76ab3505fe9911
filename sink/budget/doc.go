// Package budget is the rate that all processes on one database share for a project
// (P5): [Open] it, and let a [Shared] say when each call may go. A job without a
// database has the [pipeline.Limiter] of its one process.
//
// It is a leaky bucket in a row of bulksub.budgets: a call's operations are poured in by
// one statement ahead of the call, and the call goes when what was there before has
// run out.
//
//   - Each process brings a ceiling of its own and keeps to it by itself
//     ([pipeline.Limiter.SetRate] changes it for every call that is not granted yet); the
//     bucket runs out at the highest ceiling of the last two seconds, so that a slow
//     process does not hold up a fast one.
//   - A quota that one process meets slows all of them ([pipeline.Throttle]).
//   - Small calls are taken in lots, and a process without a ceiling asks ten times a
//     second: the database is not asked for each.
//   - Times are by the database's clock, also after it was set back. A place that a process
//     comes to use too late, for it was frozen or its answer was, is given up.
//   - No lock is held while a process thinks, so that none holds the others up.
//
// It counts what these processes send, and not what others send for the project.
package budget
