package postgres

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ParseName reads a name as SQL writes it: parts between dots, each folded to
// lower case unless it stands in double quotes, where "" is a quote.
func ParseName(s string) ([]string, error) {
	var parts []string
	rest := strings.TrimSpace(s)
	for {
		part, after, err := parsePart(rest)
		if err != nil {
			return nil, fmt.Errorf("the name %q %w", s, err)
		}
		parts = append(parts, part)
		if after == "" {
			return parts, nil
		}
		rest = after[1:]
	}
}

// parsePart reads up to the next dot, which stays at the head of after.
func parsePart(s string) (part, after string, err error) {
	if !strings.HasPrefix(s, `"`) {
		part, after = s, ""
		if dot := strings.IndexByte(s, '.'); dot >= 0 {
			part, after = s[:dot], s[dot:]
		}
		if part == "" {
			return "", "", fmt.Errorf("has an empty part")
		}
		return strings.Map(fold, part), after, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '"':
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '"':
			b.WriteByte('"')
			i++
		case i+1 < len(s) && s[i+1] != '.':
			return "", "", fmt.Errorf("goes on after a closing quote")
		case b.Len() == 0:
			return "", "", fmt.Errorf("has an empty part")
		default:
			return b.String(), s[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("has a quote that is not closed")
}

// fold lowers the letters that SQL lowers.
func fold(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// Quote writes a name so that SQL reads it back as it is.
func Quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// Literal writes a text so that SQL reads it back as it is, unless standard_conforming_strings is off.
func Literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
