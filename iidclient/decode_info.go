package iidclient

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// decodeInfo reads the reply of info, an object. It takes unknown fields, fields
// that are missing or null, and numbers for strings, since the editions of the
// reference differ; but not an object that says nothing of a token, a key that
// comes twice, or a field of another shape: these are a [*ReplyError].
func decodeInfo(body []byte) (Info, error) {
	if !utf8.Valid(body) || !json.Valid(body) {
		s := scanner{text: body}
		return Info{}, s.opening("valid JSON in UTF-8")
	}
	fields, err := objectOf(body, "the reply")
	if err != nil {
		return Info{}, err
	}
	info := Info{Raw: bytes.Clone(bytes.TrimSpace(body))}
	if err := info.fill(fields); err != nil {
		return Info{}, err
	}
	if _, failed := fields["error"]; failed || info.Application+info.AuthorizedEntity+info.Platform == "" {
		return Info{}, &ReplyError{Reason: "an error, or an object without application, authorizedEntity and platform"}
	}
	info.Topics, err = relationsOf(fields["rel"])
	if err != nil {
		return Info{}, err
	}
	return info, nil
}

func (info *Info) fill(fields map[string]json.RawMessage) error {
	for _, f := range []struct {
		key  string
		into *string
	}{
		{"application", &info.Application},
		{"authorizedEntity", &info.AuthorizedEntity},
		{"platform", &info.Platform},
		{"applicationVersion", &info.ApplicationVersion},
		{"appSigner", &info.AppSigner},
		{"scope", &info.Scope},
		{"attestStatus", &info.AttestStatus},
		{"connectionType", &info.ConnectionType},
		{"connectDate", &info.ConnectDate},
	} {
		text, ok := scalarOf(fields[f.key])
		if !ok {
			return &ReplyError{Reason: f.key + " is neither a string nor a number"}
		}
		*f.into = text
	}
	info.Platform = strings.ToUpper(info.Platform)
	return nil
}

// relationsOf reads {"topics":{"NAME":{"addDate":"yyyy-mm-dd"},…}}. Relations that
// are no topics are left to Raw.
func relationsOf(rel json.RawMessage) ([]Relation, error) {
	kinds, err := objectOf(rel, "rel")
	if err != nil {
		return nil, err
	}
	topics, err := objectOf(kinds["topics"], "rel.topics")
	if err != nil {
		return nil, err
	}
	var list []Relation
	for topic, raw := range topics {
		facts, err := objectOf(raw, "a topic")
		if err != nil {
			return nil, err
		}
		date, ok := scalarOf(facts["addDate"])
		if !ok {
			return nil, &ReplyError{Reason: "the addDate of a topic is neither a string nor a number"}
		}
		list = append(list, Relation{Topic: topic, AddDate: date})
	}
	slices.SortFunc(list, func(a, b Relation) int { return cmp.Compare(a.Topic, b.Topic) })
	return list, nil
}

// objectOf reads an object that is part of valid JSON; null or nothing is an empty
// one. Unlike encoding/json it tells keys of another case apart, and refuses a key
// that comes twice.
func objectOf(raw json.RawMessage, what string) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if isNull(raw) {
		return fields, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if first, _ := d.Token(); first != json.Delim('{') {
		return nil, &ReplyError{Reason: what + " is no object"}
	}
	for d.More() {
		key, _ := d.Token()
		var value json.RawMessage
		name, ok := key.(string)
		if !ok || d.Decode(&value) != nil {
			return nil, &ReplyError{Reason: what + " is no valid object"}
		}
		if _, twice := fields[name]; twice {
			return nil, &ReplyError{Reason: fmt.Sprintf("%s has the key %q twice", what, cleanText(name))}
		}
		fields[name] = value
	}
	return fields, nil
}

// scalarOf is a string, or a number or boolean as it is spelt; null or nothing is
// the empty string.
func scalarOf(raw json.RawMessage) (text string, ok bool) {
	switch {
	case isNull(raw):
		return "", true
	case raw[0] == '{', raw[0] == '[':
		return "", false
	case raw[0] == '"':
		ok = json.Unmarshal(raw, &text) == nil
		return text, ok
	}
	return string(raw), true
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
