// Package sink is the memory of a job: which segments are left, and which rows
// have a result. [CSV] keeps it in the result file itself, [Postgres] in the
// schema bulksub, [Memory] nowhere; each is a [pipeline.Sink].
//
// A row is finished if and only if its result is recorded (P1). There is no other
// checkpoint: what a sink says of a segment is derived from its results.
//
// A job is known by its name (in Postgres) or by its result file (CSV), and it
// remembers what was asked of it: the same name with another topic, input or
// command is refused with a [*MismatchError].
package sink
