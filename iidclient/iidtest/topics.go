package iidtest

import "strings"

// topics numbers topic names in order of appearance and counts their members.
type topics struct {
	numbers map[string]uint32
	names   []string
	members []int
}

func (t *topics) number(name string) uint32 {
	n, known := t.numbers[name]
	if !known {
		name = strings.Clone(name)
		n = uint32(len(t.names))
		t.numbers[name] = n
		t.names = append(t.names, name)
		t.members = append(t.members, 0)
	}
	return n
}
