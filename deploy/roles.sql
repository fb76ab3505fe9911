-- Three roles for the database, each with what it needs and no more. Run it as the owner of schema bulksub, after
-- `bulksub db migrate`, and again after a later one; then grant the roles to those who log in:
--
--   create role nightly login password '…' in role bulksub_writer;
--   grant select on users to nightly;
--
-- What is not here is left to the owner: `bulksub db migrate`, `bulksub jobs purge`, and the tables of your own that
-- tokens are read from or pruned in.

do $$
declare
	missing text;
begin
	foreach missing in array array['bulksub_reader', 'bulksub_writer', 'bulksub_pruner'] loop
		if not exists (select from pg_roles where rolname = missing) then
			execute format('create role %I nologin', missing);
		end if;
	end loop;
end $$;

-- Looks: dashboards, bulksub jobs, bulksub jobs show and results. It sees whole tokens, which results are made of.
grant usage on schema bulksub to bulksub_reader;
grant select on all tables in schema bulksub to bulksub_reader;

-- Runs jobs, and steers them. It deletes results only to ask again about what failed.
grant bulksub_reader to bulksub_writer;
grant insert, update on bulksub.jobs, bulksub.segments, bulksub.budgets, bulksub.plans to bulksub_writer;
grant insert, delete on bulksub.records, bulksub.planned to bulksub_writer;
grant insert on bulksub.synced to bulksub_writer;
grant insert, update, delete on bulksub.subscriptions to bulksub_writer;
grant insert, update on bulksub.tokens to bulksub_writer;

-- Prunes as well, into the archive and back. In the table it needs select and delete (--prune delete) or update of the
-- column that is marked, and insert to bring rows back. --prune-lag needs to see the standbys, and so everybody's sessions:
-- if you want that, grant pg_read_all_stats to bulksub_pruner.
grant bulksub_writer to bulksub_pruner;
grant insert, update (restored_at) on bulksub.pruned to bulksub_pruner;
