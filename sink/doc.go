// Package sink is the memory of a job: which segments are left, and which rows
// have a result. [CSV] keeps it in the result file itself, [Postgres] in the
// schema bulksub, [Memory] in memory, for a few tokens that nobody will ask about
// again; each is a [pipeline.Sink].
//
// A row is finished if and only if its result is recorded (P1). There is no other
// checkpoint: what a sink says of a segment is derived from its results.
//
//   - What Record has taken survives the process and the machine; a run that is
//     killed at any instant is continued by the next, which records nothing twice
//     (P2). If the outcome of a commit is unknown, the ledger is asked.
//   - A process whose lease somebody else has taken over writes nothing (P9): each
//     write compares the segment's fence in the same transaction. One process or
//     fifty, the results are the same (P12).
//   - What is left when every row has a result is done once, by one of the processes
//     ([Postgres.End]), and all of them tell the same.
//   - What a job changes besides ([Effect]) is there with its results, or not at all.
//   - So is what the service is believed to hold for topics under sync; [Postgres.Stage]
//     plans what a sync is to send.
//   - No transaction stays open longer than one commit (P7), but for the one that
//     computes the difference of a sync.
//
// A job is known by its name (in Postgres) or by its result file (CSV), and it
// remembers what was asked of it: the same name with another topic, input or
// command is refused with a [*MismatchError].
//
// Of its parts sink knows nothing: package budget is the rate that all processes share,
// and package prune takes the rows whose token is gone out of their table.
package sink
