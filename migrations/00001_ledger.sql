-- +goose Up

create table bulksub.jobs (
	id          bigint generated always as identity primary key,
	name        text        not null unique check (name <> ''),
	series      text        check (series <> ''), -- the made name without its number; null: the user named the job
	asked       jsonb       not null,
	line        jsonb,      -- the command line that made it, without what belongs to a process
	api         text        check (api <> ''), -- by which its calls go
	expected    bigint,     -- rows, as far as it was known then
	planned     boolean     not null default false, -- every segment has been cut
	state       text        not null default 'open' check (state in ('open', 'done', 'cancelled', 'overtaken', 'purging')),
	paused      boolean     not null default false,
	rate        float8      check (rate >= 0), -- set for all its processes, 0: no ceiling; null: as each was started
	created_at  timestamptz not null default clock_timestamp(),
	finished_at timestamptz,
	ended       bigint      not null default 0, -- how often its end has been reached
	outcome     json,       -- what all of its processes tell, since then
	let_go      bigint      not null default 0, -- rows that are not found and may be pruned whatever their share: a person has said so
	unheard_until timestamptz -- until when the service may carry out a call of which nobody has heard the end
);
create index jobs_series on bulksub.jobs (series, id);

create table bulksub.segments (
	job_id    bigint  not null references bulksub.jobs on delete cascade,
	number    integer not null check (number >= 0), -- 0: the end of the job, which has no rows and is never done
	bounds    text    not null,
	done      boolean not null default false,
	owner     text    check (owner <> ''), -- random for each process; null: nobody
	process   text,                        -- where the owner runs, for those who can see whether it still does
	fence     bigint  not null default 0,  -- counts the owners; only the last one's writes are taken
	lease_end timestamptz,
	counts    jsonb,                       -- results by status, once done
	primary key (job_id, number)
);
create index segments_open on bulksub.segments (job_id, number) where not done;

-- The results, of a segment that one commit wrote and that share a status: as many as fill a page, some 46, and 64 at most. Keys
-- and tokens are lists: the texts of all of them with U+001E (ASCII's record separator) between them. The server takes a list in
-- one piece, and an array element by element. A result of whose key or token that character is part stands alone. Each array has
-- an element for each result. Those of topics, codes, attempts and registration_tokens have only one where it is the same for
-- all, and are null where it is '' for all, which is none.
create table bulksub.records (
	job_id              bigint      not null,
	segment             integer     not null,
	fence               bigint      not null, -- of the claim under which they were written
	first               bigint      not null, -- a process numbers what it writes
	status              text        not null,
	results             integer     not null check (results > 0), -- how many
	keys                text        collate "C" not null,
	tokens              text        not null,
	topics              text[],
	codes               text[],
	attempts            smallint[]  not null,
	registration_tokens text[],
	details             json[],     -- word for word: jsonb would refuse \u0000 and reorder the rest
	recorded_at         timestamptz not null default clock_timestamp(),
	primary key (job_id, segment, fence, first)
);
alter table bulksub.records
	-- Tokens look random: compressing them takes more time than all else, and gains nothing.
	alter keys set storage external, alter tokens set storage external, alter registration_tokens set storage external,
	-- A record fills a page, and stays in it.
	set (toast_tuple_target = 8160,
	-- Autovacuum would read all that a long job has written while the job goes on. Records are added, until a purge deletes
	-- them: 20,000 that are dead beyond a fifth, some 160 MB, are worth a vacuum, a commit that was rolled back is not. Twice
	-- as many records as before are worth new statistics.
		autovacuum_vacuum_insert_threshold = -1, autovacuum_vacuum_threshold = 20000,
		autovacuum_analyze_threshold = 20000, autovacuum_analyze_scale_factor = 1);
-- A segment's failed results are deleted before they are tried again, and its not_found ones pruned, without reading the others.
create index records_not_ok on bulksub.records (job_id, segment, status) where status <> 'ok';

-- One row for each result.
create view bulksub.rows as
select r.job_id, r.segment, r.fence, r.first, e.row_key, e.token, coalesce(e.topic, r.topics[1], '') as topic, r.status,
	nullif(coalesce(e.code, r.codes[1]), '') as code, coalesce(e.attempts, r.attempts[1]) as attempts,
	nullif(coalesce(e.registration_token, r.registration_tokens[1]), '') as registration_token, e.detail, r.recorded_at
from bulksub.records r
cross join lateral unnest(
	case r.results when 1 then array[r.keys] else string_to_array(r.keys, e'\x1e') end,
	case r.results when 1 then array[r.tokens] else string_to_array(r.tokens, e'\x1e') end,
	r.topics, r.codes, r.attempts, r.registration_tokens, r.details)
	as e (row_key, token, topic, code, attempts, registration_token, detail);

-- The contract for those who query: how the rows are stored may change.
create view bulksub.results as
select j.name as job, r.segment, r.row_key, r.token, r.topic, r.status, r.code, r.attempts,
	r.registration_token, r.detail, r.recorded_at
from bulksub.rows r join bulksub.jobs j on j.id = r.job_id;

create table bulksub.pruned (
	id          bigint      generated always as identity primary key,
	job_id      bigint      not null references bulksub.jobs on delete restrict,
	"table"     text        not null,
	row_key     text        not null,
	token       text        not null,
	marked      text        check (marked <> ''), -- the column that was marked; null: the row was deleted
	"row"       jsonb       not null, -- the whole row as it was
	pruned_at   timestamptz not null default clock_timestamp(),
	restored_at timestamptz
);
create index pruned_job on bulksub.pruned (job_id, id) where restored_at is null;

-- The rate that all processes share for a project: a leaky bucket of token
-- operations, and how far the service has brought the rate down.
create table bulksub.budgets (
	project    text        primary key check (project <> ''),
	level      float8      not null default 0, -- what was in the bucket
	level_at   timestamptz not null default to_timestamp(0),
	ceiling    float8      not null default 0, -- the highest of late, of all processes
	ceiling_at timestamptz not null default to_timestamp(0),
	pace       float8      not null default 0, -- operations per second before paced_at
	paced      float8      not null default 0, -- operations since
	paced_at   timestamptz not null default to_timestamp(0),
	rate       float8      not null default 'infinity', -- what the service has brought it down to
	rate_before float8     not null default 0,
	changed_at timestamptz not null default to_timestamp(0),
	cut_at     timestamptz not null default to_timestamp(0),
	hold_until timestamptz not null default to_timestamp(0),
	version    bigint      not null default 0 -- counts the changes of the five above
);

create table bulksub.tokens (
	id         bigint      generated always as identity primary key,
	token      text        not null unique,
	apns_token text,    -- in lower case, of which an import has made the token
	bundle_id  text,    -- of the app that it was imported for
	sandbox    boolean, -- and whether in the sandbox of APNs
	added_at   timestamptz not null default clock_timestamp(),
	pruned_at  timestamptz
);

-- The topics that syncs look after: they are under sync. What any job does to them goes into bulksub.subscriptions,
-- before each call and in the transaction that records its results.
create table bulksub.synced (
	topic text        collate "C" not null check (topic <> ''),
	kind  text        not null check (kind <> ''), -- what the sync was asked, whatever its jobs are called
	service text      not null default '', -- its address
	since timestamptz not null default clock_timestamp(),
	primary key (topic, kind)
);

-- What the service is believed to hold for them: a row is a subscription that it holds, or that it may hold if the row is in
-- doubt. There is none for what it does not hold. sink/beliefs.go has what each event makes of a row.
create table bulksub.subscriptions (
	topic   text        collate "C" not null,
	token   text        collate "C" not null,
	since   timestamptz not null default clock_timestamp(), -- when the service last said that it holds it; -infinity: never
	doubted timestamptz, -- null: not in doubt; else until when a call may change it
	caller  bigint,      -- the process whose call that is; 0: nobody will hear how the call ended
	earlier timestamptz, -- the doubted of another call, which was there when the caller announced; -infinity: that time was past; null: no other call
	job_id  bigint      not null -- the last job that said something of it, and may say more while it is at work; 0: none
);
-- A token can be longer than an index takes, and 128 bits tell tokens apart.
create unique index subscriptions_token on bulksub.subscriptions (hashtextextended(token, 0), hashtextextended(token, 1), topic);
create index subscriptions_topic on bulksub.subscriptions (topic);

-- The difference that a sync is to send, computed once for the job.
create table bulksub.plans (
	job_id     bigint      primary key references bulksub.jobs on delete cascade,
	difference jsonb       not null, -- its figures
	opened_at  timestamptz not null default clock_timestamp(), -- when a process last began to work on it
	process    text        -- where that runs
);
create table bulksub.planned (
	job_id bigint not null,
	n      bigint not null,
	op     text   not null,
	topic  text,
	token  text,
	primary key (job_id, n)
);
