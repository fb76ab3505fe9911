package main

import (
	"cmp"
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/bulksub/bulksub/iidclient"
	"github.com/bulksub/bulksub/pipeline"
	"github.com/bulksub/bulksub/source"
)

// kind is what tokens are.
type kind string

const (
	fcmTokens  kind = "FCM registration tokens"
	apnsTokens kind = "APNs tokens"
)

// insteadOf says which command takes the tokens that another one does not.
var insteadOf = map[kind]string{
	fcmTokens:  "they need no import, subscribe them: bulksub subscribe --topic TOPIC",
	apnsTokens: "make registration tokens of them first: bulksub import --bundle-id ID --topic TOPIC",
}

const (
	// mostLooked is how many rows are looked at for the kind of their tokens.
	mostLooked = 1000
	// fewestDigits is how many hex digits look like an APNs token; the example of the
	// server reference has so many.
	fewestDigits = 54
)

// registrationToken is how an FCM token looks: an ID, a colon and more; the ID alone,
// as clients have had it since 2026; or no ID, as in the days of GCM.
var registrationToken = regexp.MustCompile(`^([\w-]+:[\w-]+|[\w-]{22}|APA91b[\w-]+)$`)

// kindOf tells what a token looks like, or "" if it could be anything.
func kindOf(token string) kind {
	switch hex := iidclient.CheckAPNsToken(token) == nil; {
	case hex && len(token) >= fewestDigits:
		return apnsTokens
	case !hex && registrationToken.MatchString(token):
		return fcmTokens
	}
	return ""
}

// checkKind looks at the first rows, and refuses an input with a [*source.InputError]
// if most of its tokens look like those of another command. It calls nobody and
// changes nothing.
func (in *input) checkKind(ctx context.Context, o jobOptions) error {
	if o.asked.kind == "" {
		return nil
	}
	seen := make(map[kind]int)
	looked, err := in.look(ctx, func(token string) { seen[kindOf(token)]++ })
	if err != nil {
		return err
	}
	for other, instead := range insteadOf {
		if n := seen[other]; other != o.asked.kind && 2*n > looked {
			return &source.InputError{Input: in.label(o), Problem: fmt.Sprintf("%d of the first %d tokens look like %s; %s", n, looked, other, instead)}
		}
	}
	return nil
}

// look shows the tokens of the first rows, as far as they have any.
func (in *input) look(ctx context.Context, at func(token string)) (looked int, err error) {
	if in.source == nil {
		return in.lookAtRelation(ctx, at)
	}
	first, found, err := in.source.Next(ctx, pipeline.Segment{})
	if err != nil || !found {
		return 0, err
	}
	rows := 0
	for row, err := range in.source.Rows(ctx, first) {
		if err != nil {
			return looked, err
		}
		if row.Token != "" {
			at(row.Token)
			looked++
		}
		if rows++; rows == mostLooked {
			break
		}
	}
	return looked, nil
}

// lookAtRelation is look for rows that are not read one by one.
func (in *input) lookAtRelation(ctx context.Context, at func(token string)) (looked int, err error) {
	sql := in.relation.Select(fmt.Sprintf("coalesce(%s::text, '')", in.relation.Token.SQL()), "")
	rows, _ := in.pool.Query(ctx, fmt.Sprintf("%s limit %d", sql, mostLooked))
	var token string
	_, err = pgx.ForEachRow(rows, []any{&token}, func() error {
		if token != "" {
			at(token)
			looked++
		}
		return nil
	})
	return looked, in.relation.Explain(err)
}

// label is what errors call the input.
func (in *input) label(o jobOptions) string {
	switch {
	case in.relation != nil:
		return in.relation.Label()
	case o.input.file() == "-":
		return "standard input"
	}
	return cmp.Or(o.input.file(), "the arguments")
}
