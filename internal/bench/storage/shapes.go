package main

import "strings"

// shape is a way of keeping results: tables, a view kept.rows of one row a result, and the COPY that writes.
type shape struct {
	name    string
	tables  string
	into    string                                         // the COPY
	encode  func(buf []byte, segment, first, n int) []byte // results first to first+n-1 of a segment
	perTx   int                                            // COPYs of a transaction; 0: one
	writers int                                            // 0: one
	forget  string                                         // deletes what failed
	purge   string                                         // deletes a part of all
	count   string                                         // counts by status of a segment; "": from the view
	keys    string                                         // the keys of a segment; "": from the view
}

const common = `
create schema kept;
create table kept.segments (number int primary key, fence bigint not null default 1);
insert into kept.segments select generate_series(1, 10000);
`

const rowColumns = `
	job_id bigint not null, segment integer not null, row_key text collate "C" not null, token text not null, topic text not null,
	status text not null, code text, attempts smallint not null, registration_token text, detail json,
	recorded_at timestamptz not null default clock_timestamp()`

const (
	copyText    = `copy kept.rows (job_id, segment, row_key, token, topic, status, code, attempts, registration_token, detail) from stdin`
	forgetRows  = `delete from kept.rows where job_id = 1 and segment = $1 and status = 'failed'`
	purgeRows   = `delete from kept.rows where ctid = any(array(select ctid from kept.rows where job_id = 1 limit 10000))`
	copyRecords = `copy kept.records (job_id, segment, fence, first, n, status, topics, codes, attempts, keys, tokens) from stdin (format binary)`
	forgetLots  = `delete from kept.records where job_id = 1 and segment = $1 and status = 'failed'`
	purgeLots   = `delete from kept.records where ctid = any(array(select ctid from kept.records where job_id = 1 limit 50))`
	keysOfLots  = `select unnest(keys) from kept.records where job_id = 1 and segment = $1`
	keysOfLists = `select keys from kept.records where job_id = 1 and segment = $1`
	countLots   = `select status, sum(n) from kept.records where job_id = 1 and segment = $1 group by status`
)

// arrayed are tables of one row for all results of a commit that share segment and status. How the arrays are stored
// is left to what comes after.
const arrayed = `
create table kept.records (
	job_id bigint not null, segment integer not null, fence bigint not null, first integer not null, n integer not null,
	status text not null, topics text[] not null, codes text[], attempts smallint[] not null,
	keys text[] collate "C" not null, tokens text[] not null, registration_tokens text[], details json[],
	recorded_at timestamptz not null default clock_timestamp(),
	primary key (job_id, segment, fence, first));
create view kept.rows as
select b.job_id, b.segment, r.row_key, r.token, coalesce(r.topic, b.topics[1]) as topic, b.status, nullif(coalesce(r.code, b.codes[1]), '') as code,
	coalesce(r.attempts, b.attempts[1]) as attempts, nullif(r.registration_token, '') as registration_token, r.detail, b.recorded_at
from kept.records b cross join lateral unnest(b.keys, b.tokens, b.topics, b.codes, b.attempts, b.registration_tokens, b.details)
	as r (row_key, token, topic, code, attempts, registration_token, detail);`

// listed are the same with a text for all keys, and one for all tokens.
var listed = strings.NewReplacer("keys text[]", "keys text", "tokens text[] not", "tokens text not",
	"b.keys, b.tokens", `string_to_array(b.keys, e'\x1e'), string_to_array(b.tokens, e'\x1e')`).Replace(arrayed)

const external = `alter table kept.records alter keys set storage external, alter tokens set storage external;`

var shapes = []shape{
	{name: "row a token", tables: `create table kept.rows (` + rowColumns + `, primary key (job_id, segment, row_key));`,
		into: copyText, encode: rowsText, forget: forgetRows, purge: purgeRows},
	{name: "row, 4 COPYs a commit", tables: `create table kept.rows (` + rowColumns + `, primary key (job_id, segment, row_key));`,
		into: copyText, encode: rowsText, perTx: 4, forget: forgetRows, purge: purgeRows},
	{name: "row, two writers", tables: `create table kept.rows (` + rowColumns + `, primary key (job_id, segment, row_key));`,
		into: copyText, encode: rowsText, writers: 2, forget: forgetRows, purge: purgeRows},
	{name: "row, index on segment", tables: `create table kept.rows (` + rowColumns + `); create index on kept.rows (job_id, segment);`,
		into: copyText, encode: rowsText, forget: forgetRows, purge: purgeRows},
	{name: "row, brin", tables: `create table kept.rows (` + rowColumns + `); create index on kept.rows using brin (job_id, segment) with (pages_per_range = 32);`,
		into: copyText, encode: rowsText, forget: forgetRows, purge: purgeRows},
	{name: "arrays external", tables: arrayed + external, into: copyRecords, encode: arrays(4000), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays external, 1,000 at most", tables: arrayed + external, into: copyRecords, encode: arrays(1000), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays external, 500 at most", tables: arrayed + external, into: copyRecords, encode: arrays(500), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "lists external, 500 at most", tables: listed + external, into: copyRecords, encode: lists(500), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLists},
	{name: "lists external, 46 at most, a page each", tables: listed + external + `alter table kept.records set (toast_tuple_target = 8160);`,
		into: copyRecords, encode: lists(46), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLists},
	{name: "arrays external, 46 at most, a page each", tables: arrayed + external + `alter table kept.records set (toast_tuple_target = 8160);`,
		into: copyRecords, encode: arrays(46), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays, 4 COPYs a commit", tables: arrayed + external, into: copyRecords, encode: arrays(4000), perTx: 4, forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays, two writers", tables: arrayed + external, into: copyRecords, encode: arrays(4000), writers: 2, forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays lz4", tables: arrayed + `alter table kept.records alter keys set compression lz4, alter tokens set compression lz4;`,
		into: copyRecords, encode: arrays(4000), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays, keys lz4", tables: arrayed + external + `alter table kept.records alter keys set storage extended, alter keys set compression lz4;`,
		into: copyRecords, encode: arrays(4000), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
	{name: "arrays pglz", tables: arrayed, into: copyRecords, encode: arrays(4000), forget: forgetLots, purge: purgeLots, count: countLots, keys: keysOfLots},
}
