package iidtest

import (
	"slices"
	"strings"
)

// subscription is a topic by number, and the day since 1970 it was added.
type subscription struct {
	topic uint32
	day   int32
}

// device is an app instance: its token, its subscriptions, and how often it
// was tried. One that was deleted is known no more. It has room for its first subscription, which is the only one
// that most have.
type device struct {
	token         string
	subscriptions []subscription
	first         [1]subscription
	tries         int
	deleted       bool
}

func (d *device) find(topic uint32) int {
	return slices.IndexFunc(d.subscriptions, func(s subscription) bool { return s.topic == topic })
}

const (
	textChunk   = 64 << 10
	deviceChunk = 1024
)

// devices finds a device by the hash of its token. Texts and devices lie in
// chunks, and the index holds no pointers, so that neither its growth nor the
// garbage collector reads a million tokens.
type devices struct {
	index  map[uint64]uint32
	chunks [][]device
	count  uint32
	text   strings.Builder
}

func newDevices() devices { return devices{index: map[uint64]uint32{}} }

// find returns nil for a token that never came.
func (d *devices) find(token string) *device {
	_, found := d.lookup([]byte(token))
	return found
}

func (d *devices) findOrAdd(token []byte) *device {
	key, found := d.lookup(token)
	if found == nil {
		found = d.add(key, token)
	}
	return found
}

// lookup returns the device of token, or the key under which to add it. Of two
// tokens with one hash, the later is under the hash of the next seed.
func (d *devices) lookup(token []byte) (key uint64, found *device) {
	for seed := uint64(0); ; seed++ {
		key = hash(seed, token)
		n, taken := d.index[key]
		if !taken {
			return key, nil
		}
		if found = d.at(n); found.token == string(token) {
			return key, found
		}
	}
}

func (d *devices) at(n uint32) *device { return &d.chunks[n/deviceChunk][n%deviceChunk] }

func (d *devices) add(key uint64, token []byte) *device {
	if d.count%deviceChunk == 0 {
		d.chunks = append(d.chunks, make([]device, deviceChunk))
	}
	added := d.at(d.count)
	added.token = d.keep(token)
	added.subscriptions = added.first[:0]
	d.index[key] = d.count
	d.count++
	return added
}

// keep returns a copy of token.
func (d *devices) keep(token []byte) string {
	if d.text.Cap()-d.text.Len() < len(token) {
		d.text.Reset()
		d.text.Grow(textChunk)
	}
	start := d.text.Len()
	d.text.Write(token)
	return d.text.String()[start:]
}

// all calls visit for every device.
func (d *devices) all(visit func(*device)) {
	for n := range d.count {
		visit(d.at(n))
	}
}
