// Package source says what there is to do: it cuts an input into segments and
// streams their rows. [File] reads CSV or JSON lines, [Postgres] a table or a
// query, [List] a few tokens from the command line. Each is a [pipeline.Source].
//
// A source only reads (P10). It opens no transaction that outlives a page (P7)
// and keeps no more than a page in memory (P6), or a segment if rows are grouped.
// It gives the same rows for the same segment each time, so that another process
// can continue a run.
package source
