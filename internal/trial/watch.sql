create schema trial;

create table trial.violations (what text not null);
create table trial.writes (transaction bigint not null, rows bigint not null);
-- Who has taken a segment, as application_name says.
create table trial.holders (job_id bigint, segment integer, fence bigint, name text);

create function trial.taken() returns trigger language plpgsql security definer as $$
begin
	insert into trial.holders values (new.job_id, new.number, new.fence, current_setting('application_name'));
	return null;
end $$;

create trigger inserted after insert on bulksub.segments for each row execute function trial.taken();
create trigger taken after update on bulksub.segments for each row
	when (new.fence is distinct from old.fence) execute function trial.taken();

create function trial.written() returns trigger language plpgsql security definer as $$
begin
	insert into trial.writes select txid_current(), sum(results) from added having count(*) > 0;
	insert into trial.violations
	select format('segment %s is written by %s and held by %s', a.segment, current_setting('application_name'), h.name)
	from (select distinct job_id, segment from added) a
	cross join lateral (
		select name from trial.holders where job_id = a.job_id and segment = a.segment order by fence desc limit 1) h
	where h.name <> current_setting('application_name');
	return null;
end $$;

create trigger written after insert on bulksub.records referencing new table as added
	for each statement execute function trial.written();

create function trial.gone() returns trigger language plpgsql security definer as $$
begin
	insert into trial.violations select format('the result of row %s, %s, has gone', unnest(string_to_array(keys, e'\x1e')), status) from lost where status <> 'failed';
	return null;
end $$;

create trigger gone after delete on bulksub.records referencing old table as lost
	for each statement execute function trial.gone();

create function trial.changed() returns trigger language plpgsql security definer as $$
begin
	insert into trial.violations select format('the result of row %s, %s, was changed', unnest(string_to_array(keys, e'\x1e')), status) from lost;
	return null;
end $$;

create trigger changed after update on bulksub.records referencing old table as lost
	for each statement execute function trial.changed();
