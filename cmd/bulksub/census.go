package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// census is what a job's results say of its tokens.
type census struct {
	Platforms breakdown `json:"platforms,omitempty"`
	Topics    breakdown `json:"topics,omitempty"`
	Projects  breakdown `json:"projects,omitempty"` // by number
}

// breakdown is how many tokens there are of each kind, the most first.
type breakdown []portion

type portion struct {
	name   string
	tokens int64
}

const (
	// mostKinds bounds a breakdown; the rest is added up as others, which is no name
	// of a topic.
	mostKinds = 20
	others    = "(others)"
	// mostCounted bounds the kinds that are told apart while they are counted.
	mostCounted = 100_000
)

// takeCensus counts over all results of the job.
func takeCensus(ctx context.Context, results ledger) (census, error) {
	counts := map[string]map[string]int64{"platform": {}, "topics": {}, "authorized_entity": {}}
	err := results.Tally(ctx, []string{"platform", "topics", "authorized_entity"}, func(key, word string, rows int64) {
		of := counts[key]
		if _, known := of[word]; !known && len(of) >= mostCounted {
			word = others
		}
		of[word] += rows
	})
	return census{
		Platforms: breakDown(counts["platform"]),
		Topics:    breakDown(counts["topics"]),
		Projects:  breakDown(counts["authorized_entity"]),
	}, err
}

func breakDown(counts map[string]int64) breakdown {
	rest := counts[others]
	delete(counts, others)
	var b breakdown
	for name, n := range counts {
		b = append(b, portion{name, n})
	}
	slices.SortFunc(b, func(x, y portion) int { return cmp.Or(cmp.Compare(y.tokens, x.tokens), cmp.Compare(x.name, y.name)) })
	for len(b) > mostKinds {
		rest += b[len(b)-1].tokens
		b = b[:len(b)-1]
	}
	if rest > 0 {
		b = append(b, portion{others, rest})
	}
	return b
}

// MarshalJSON writes an object, the largest number first.
func (b breakdown) MarshalJSON() ([]byte, error) {
	text := []byte("{")
	for i, k := range b {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(k.name)
		if err != nil {
			return nil, err
		}
		text = fmt.Appendf(text, "%s:%d", name, k.tokens)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON has written, in its order.
func (b *breakdown) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	_, err := d.Token()
	for err == nil && d.More() {
		var k portion
		var name json.Token
		if name, err = d.Token(); err == nil {
			err = d.Decode(&k.tokens)
		}
		k.name, _ = name.(string)
		*b = append(*b, k)
	}
	return err
}

// print writes the census as lines of a table.
func (c census) print(w io.Writer) {
	for _, part := range []struct {
		title string
		breakdown
	}{{"by platform", c.Platforms}, {"by topic", c.Topics}, {"by project", c.Projects}} {
		if len(part.breakdown) > 0 {
			fmt.Fprintf(w, "%s\t\n", part.title)
		}
		for _, k := range part.breakdown {
			fmt.Fprintf(w, "  %s\t%s\n", printable(k.name), thousands(k.tokens))
		}
	}
}

// printable is a name that the service gave, without what would upset a table or a
// terminal.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\ufffd'
		}
		return r
	}, name)
}
