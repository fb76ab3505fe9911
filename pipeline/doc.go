// Package pipeline carries rows from a [Source] through batches, a rate-limited
// pool of workers and a [Service] to a [Sink]: one result for every row.
//
//	Source ──rows──▶ batcher ──batches──▶ workers ──replies──▶ Sink
//	                    ▲                    │
//	                    └── retry, next action ──┘
//
// It knows neither SQL nor HTTP nor flags. [Run] is the only way in. One loop
// owns every row from its reading to its recording. The goroutines around the
// loop (one reader, one recorder, the workers) only do the waiting.
//
// # The way of a row
//
// The reader claims a [Segment] from the sink, streams its rows from the source
// and skips those that have a result. A row's first [Action] is its group: the
// batcher keeps one open batch per action. It hands a batch on when the batch is
// full, when nothing more can come, or when the window of rows in hand is full.
// A worker waits for the [Budget], makes one call, and gives the reply back to
// the loop. If a row may be asked again or has another action to do, it goes back
// to the batcher and is packed with others. A finished row goes to the sink. When
// the last row of a segment is recorded, the segment is finished too.
//
// # What is promised
//
//   - A row is finished if and only if its result is recorded (P1). To continue a
//     run that died, run it again (P2): the sink's memory is the only checkpoint.
//   - A result is made only from a complete reply of the service that accounts
//     for every token of the call (P3). If a whole call fails, its batch is
//     repeated or split, and no token is judged. There are two exceptions, for a
//     batch of one: if it is [Refused], the token is [Invalid]; if all its attempts
//     fail while others are judged, the token has [Failed], which is not final.
//   - No one-second window carries more token operations of this run than the rate
//     plus one batch, retries included (P5).
//   - No more rows than Options.Window are in hand, whatever the input (P6).
//   - Nothing is sent for a segment whose [Lease] is not held (P9).
//   - An unknown code is kept word for word, counted and shown (P11).
//
// The order of results is not promised. Two actions of one row never run at the
// same time.
package pipeline
