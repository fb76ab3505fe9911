package pipeline

import "hash/maphash"

// index finds a token's place in the tokens of a batch. A map would hash a new token twice, to look for it and to put
// it, and its strings would be one more thing for the collector to look at. The zero index is that of no tokens.
type index struct {
	slots []int32 // a place and one more, or 0: none; found by the token's hash, or further on
}

var indexSeed = maphash.MakeSeed()

// place is where the token stands in tokens, or len(tokens) if it is new: then it is to be appended.
func (x *index) place(tokens []string, token string) int {
	if 2*len(tokens) >= len(x.slots) {
		x.grow(tokens)
	}
	slot := x.find(tokens, token)
	if *slot == 0 {
		*slot = int32(len(tokens) + 1)
	}
	return int(*slot) - 1
}

// find is the slot of the token, or the empty one where it is to be. At least half the slots are empty.
func (x *index) find(tokens []string, token string) *int32 {
	mask := len(x.slots) - 1
	for i := int(maphash.String(indexSeed, token)) & mask; ; i = (i + 1) & mask {
		if slot := &x.slots[i]; *slot == 0 || tokens[*slot-1] == token {
			return slot
		}
	}
}

func (x *index) grow(tokens []string) {
	x.slots = make([]int32, max(16, 2*len(x.slots)))
	for at, token := range tokens {
		*x.find(tokens, token) = int32(at + 1)
	}
}

// clear makes it the index of no tokens, with the same memory.
func (x *index) clear() { clear(x.slots) }
