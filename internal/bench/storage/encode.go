package main

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/bulksub/bulksub/iidclient/iidtest"
)

// statusOf makes 5 % of the results not_found, and 1 % failed.
func statusOf(n int) (status, code string) {
	switch {
	case n%20 == 7:
		return "not_found", "NOT_FOUND"
	case n%100 == 9:
		return "failed", "INTERNAL"
	}
	return "ok", ""
}

// made are the tokens, of which there are so many.
var made = func() (all [1 << 16]string) {
	for i := range all {
		all[i] = iidtest.Token(1, i)
	}
	return all
}()

func tokenOf(n int) string { return made[n%len(made)] }

// rowsText is a line of COPY's text format for each result.
func rowsText(b []byte, segment, first, n int) []byte {
	for i := first; i < first+n; i++ {
		status, code := statusOf(i)
		if code == "" {
			code = `\N`
		}
		b = fmt.Appendf(b, "1\t%d\t%d\t%s\tbench\t%s\t%s\t1\t\\N\t\\N\n", segment, segment*50_000+i, tokenOf(i), status, code)
	}
	return b
}

// arrays is COPY's binary format, with a row for each status, or several if it has more than most results. Its keys and
// tokens are arrays.
func arrays(most int) func(b []byte, segment, first, n int) []byte { return records(most, texts) }

// lists is the same with lists of keys and tokens.
func lists(most int) func(b []byte, segment, first, n int) []byte {
	return records(most, func(b []byte, all []string) []byte { return text(b, strings.Join(all, "\x1e")) })
}

func records(most int, several func(b []byte, all []string) []byte) func(b []byte, segment, first, n int) []byte {
	return func(b []byte, segment, first, n int) []byte {
		var keys, tokens = map[string][]string{}, map[string][]string{}
		codes := map[string]string{}
		for i := first; i < first+n; i++ {
			status, code := statusOf(i)
			keys[status] = append(keys[status], strconv.Itoa(segment*50_000+i))
			tokens[status] = append(tokens[status], tokenOf(i))
			codes[status] = code
		}
		b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
		at := first
		for _, status := range []string{"ok", "not_found", "failed"} {
			keys, tokens := keys[status], tokens[status]
			for len(keys) > 0 {
				k := min(most, len(keys))
				b = several(several(record(b, segment, at, k, status, codes[status]), keys[:k]), tokens[:k])
				keys, tokens, at = keys[k:], tokens[k:], at+k
			}
		}
		return append(b, 0xff, 0xff)
	}
}

// record begins a row: all but the keys and the tokens.
func record(b []byte, segment, first, n int, status, code string) []byte {
	b = binary.BigEndian.AppendUint16(b, 11)
	b = number(b, 8, uint64(1))
	b = number(b, 4, uint64(segment))
	b = number(b, 8, 1)
	b = number(b, 4, uint64(first))
	b = number(b, 4, uint64(n))
	b = text(b, status)
	b = texts(b, []string{"bench"})
	b = texts(b, []string{code})
	return append(b, 0, 0, 0, 26, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 21, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1)
}

func number(b []byte, size uint32, n uint64) []byte {
	b = binary.BigEndian.AppendUint32(b, size)
	if size == 4 {
		return binary.BigEndian.AppendUint32(b, uint32(n))
	}
	return binary.BigEndian.AppendUint64(b, n)
}

func text(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// texts is a text[] in the binary format: dimensions, whether there are nulls, the type's oid, length, lower bound, and
// the elements.
func texts(b []byte, all []string) []byte {
	size := 20
	for _, s := range all {
		size += 4 + len(s)
	}
	for _, n := range []int{size, 1, 0, 25, len(all), 1} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	for _, s := range all {
		b = text(b, s)
	}
	return b
}
