package iidtest

import (
	"encoding/binary"
	"math/bits"
)

// UnknownCode is the word, in no list of the service, that Mix.Unknown deals.
const UnknownCode = "QUITE_UNHEARD_OF"

// Mix deals fates in given shares (0.05 is 5 %), by a hash of the token: the
// same token has the same fate in every run and every process. What the shares
// leave is live. Use its method as Config.Fates and as oracle:
//
//	mix := iidtest.Mix{Dead: 0.05, Transient: 0.01}
//	config := iidtest.Config{Fates: mix.Fate}
type Mix struct {
	Dead         float64
	Invalid      float64
	OtherProject float64
	TooMany      float64
	Unknown      float64
	Transient    float64
	Exhausted    float64
	Poison       float64
	// Tries is how often a transient or exhausted token fails. Default: 1.
	Tries int
	// Seed changes who is dealt what.
	Seed uint64
}

// Fate is the fate of token.
func (m Mix) Fate(token string) Fate {
	at := unit(hash(m.Seed, token))
	if at >= m.Dead+m.Invalid+m.OtherProject+m.TooMany+m.Unknown+m.Transient+m.Exhausted+m.Poison {
		return Live
	}
	return m.deal(at)
}

func (m Mix) deal(at float64) Fate {
	tries := max(m.Tries, 1)
	hand := [...]struct {
		share float64
		fate  Fate
	}{
		{m.Dead, Dead},
		{m.Invalid, Invalid},
		{m.OtherProject, OtherProject},
		{m.TooMany, Overloaded},
		{m.Unknown, Always(UnknownCode)},
		{m.Transient, Transient(tries)},
		{m.Exhausted, Exhausted(tries)},
		{m.Poison, Poison},
	}
	for _, card := range hand {
		if at < card.share {
			return card.fate
		}
		at -= card.share
	}
	return Live
}

// hash is stable between processes, unlike hash/maphash, and reads eight bytes
// a step, unlike hash/fnv: it runs once for every token of every call.
func hash[T string | []byte](seed uint64, s T) uint64 {
	h := fold(seed^0x9e3779b97f4a7c15, uint64(len(s))^0xe7037ed1a0b428db)
	for ; len(s) >= 8; s = s[8:] {
		h = fold(h^word(s), 0xa0761d6478bd642f)
	}
	var tail [8]byte
	copy(tail[:], s)
	return fold(h^binary.LittleEndian.Uint64(tail[:]), 0x8ebc6af09c88c6e3)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// word reads the first eight bytes of s; the compiler makes one load of it.
func word[T string | []byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// unit maps a hash to [0, 1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// draw is the number in [0, 1) that seed deals to its nth call.
func draw(seed, n uint64) float64 {
	return unit(mix64(seed ^ mix64(n)))
}

// mix64 is the finalizer of splitmix64: a bijection that spreads every bit.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
