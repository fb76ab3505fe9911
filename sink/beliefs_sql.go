package sink

import "github.com/jackc/pgx/v5"

// The statements behind the table at [belief]. They name their parameters:
//
//	@topic, @topics, @tokens  what the event is about; @topics[i] belongs to @tokens[i]
//	@service                  beliefs about another service are left alone
//	@caller, @job, @owner     this process, its job, and what its leases call it
//	@doubt_for                how long after now the call may be carried out

const (
	// foreign: the doubt s is not by a call of this process alone. No answer to us ends it.
	foreign = `s.doubted is not null and s.caller <> @caller`

	// lasts: the doubt s is not over. A call may still be carried out, or the job that made the call is
	// at work in another process and may still record its result.
	lasts = `s.doubted > clock_timestamp() or exists (
			select from bulksub.segments g
			where g.job_id = s.job_id and not g.done and g.owner is not null and g.owner <> @owner and g.lease_end > clock_timestamp()
		)`

	// sameToken joins by the index, which has only hashes of the token.
	sameToken = `
		hashtextextended(s.token, 0) = hashtextextended(was.token, 0) and hashtextextended(s.token, 1) = hashtextextended(was.token, 1)
		and s.token = was.token`

	// ofService: the belief s is about the service that is called.
	ofService = ` and exists (select from bulksub.synced y where y.topic = s.topic and y.service = @service)`

	// allOf deletes all beliefs of the tokens.
	allOf = `delete from bulksub.subscriptions s using unnest(@tokens::text[]) as was (token) where` + sameToken + ofService
)

// announced is the event announce, for tokens of one topic. It does nothing if the topic is not under
// sync. Tokens that differ only in what cannot be stored are one. earlier keeps a foreign doubt, since
// nobody knows whose call reaches the service last.
var announced = named(`
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
	select @topic, token, @job, '-infinity', clock_timestamp() + @doubt_for::interval, @caller from (select distinct unnest(@tokens::text[]) as token) as now
	where exists (select from bulksub.synced where topic = @topic and service = @service)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = greatest(s.doubted, excluded.doubted), caller = excluded.caller, job_id = excluded.job_id,
		earlier = case when not (` + foreign + `) then s.earlier when ` + lasts + ` then s.doubted else '-infinity' end`)

func (c caller) announcement(topic string, tokens []string) pgx.NamedArgs {
	return pgx.NamedArgs{
		"topic": topic, "tokens": tokens, "service": c.service,
		"caller": c.number, "job": c.job, "owner": c.owner, "doubt_for": c.doubtFor,
	}
}

// unanswered is the event of that name, for tokens of one topic. It does nothing if the topic is not
// under sync.
var unanswered = named(`
	insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
	select @topic, token, 0, '-infinity', clock_timestamp() + @doubt_for::interval, 0 from (select distinct unnest(@tokens::text[]) as token) as now
	where exists (select from bulksub.synced where topic = @topic and service = @service)
	order by hashtextextended(token, 0)
	on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
	do update set doubted = greatest(s.doubted, excluded.doubted), caller = 0, earlier = null`)

// unheard notes with a job that the end of one of its calls will not be heard of. No topic that the job
// may change comes under sync until the call can no longer be carried out.
var unheard = named(`update bulksub.jobs set unheard_until = greatest(unheard_until, clock_timestamp() + @doubt_for::interval) where id = @job`)

func (c caller) unheard() pgx.NamedArgs {
	return pgx.NamedArgs{"job": c.job, "doubt_for": c.doubtFor}
}

// The event gone is forgetTokens. The event gone? is forgetNew and then doubtTokens.
var (
	forgetTokens = named(allOf)

	forgetNew = named(allOf + ` and s.since = '-infinity' and s.earlier is null and not (` + foreign + `)`)

	doubtTokens = named(`
		update bulksub.subscriptions s set doubted = coalesce(s.doubted, clock_timestamp()), earlier = null, caller = 0, job_id = 0
		from unnest(@tokens::text[]) as was (token) where` + sameToken + ofService)
)

// A result begins with bringBack. Then subscribed and failed are remember, refused is forget, and
// unsubscribed is forget and contradict.
var (
	// bringBack puts back the foreign doubt that was there when this process announced its call. A foreign
	// doubt that was over then is put back only if the call failed or was refused: one that was carried out ends it.
	bringBack = named(`
		update bulksub.subscriptions s set doubted = s.earlier, earlier = null, caller = 0, job_id = 0
		from unnest(@topics::text[], @tokens::text[]) as was (topic, token)
		where s.topic = was.topic and s.caller = @caller and s.earlier is not null and not (@carried_out and s.earlier = '-infinity') and` + sameToken)

	// remember notes that the service holds it, or, if the call has failed, that it may. A row that it
	// makes is in doubt either way: an announcement would have made it, so the call was not announced or
	// somebody has removed the row since. The order keeps two transactions from a deadlock.
	remember = named(`
		insert into bulksub.subscriptions as s (topic, token, job_id, since, doubted, caller)
		select topic, token, @job, case when @failed then '-infinity' else clock_timestamp() end,
			clock_timestamp(), case when @failed then @caller::bigint else 0 end
		from unnest(@topics::text[], @tokens::text[]) as now (topic, token)
		order by hashtextextended(token, 0), topic
		on conflict (hashtextextended(token, 0), hashtextextended(token, 1), topic)
		do update set since = greatest(s.since, excluded.since), earlier = case when ` + foreign + ` then s.earlier end,
			doubted = case when ` + foreign + ` then s.doubted when @failed then excluded.doubted end,
			caller = case when ` + foreign + ` then s.caller when @failed then excluded.caller end,
			job_id = case when ` + foreign + ` then s.job_id else excluded.job_id end`)

	// forget deletes what only the call of this process had put in doubt. After a refusal it keeps what
	// the service has once said that it holds.
	forget = named(`
		delete from bulksub.subscriptions s using unnest(@topics::text[], @tokens::text[]) as was (topic, token)
		where s.topic = was.topic and s.caller = @caller and (not @refused or s.since = '-infinity') and` + sameToken)

	// contradict is for a result that is recorded late: another job has subscribed the token since the
	// call was announced, and nobody knows which call came last.
	contradict = named(`
		update bulksub.subscriptions s set doubted = clock_timestamp(), caller = 0, job_id = 0
		from unnest(@topics::text[], @tokens::text[]) as was (topic, token) where s.topic = was.topic and s.doubted is null and` + sameToken)
)
