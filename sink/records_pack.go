package sink

import (
	"strings"

	"github.com/bulksub/bulksub/pipeline"
)

// packer parts results into bundles, one at a time: what is packed first is on its way while the rest is not looked at.
type packer struct {
	results []pipeline.Result
	packed  int       // how many of them are in bundles
	first   int64     // the number of the first result
	open    []*bundle // one for each claim and status
	empty   []*bundle // to be filled again
}

// next packs until a bundle is full, and at the end returns those that are not. nil: nothing is left.
func (p *packer) next() *bundle {
	for p.packed < len(p.results) {
		r := &p.results[p.packed]
		p.packed++
		if strings.IndexByte(r.Key, separator[0]) >= 0 || strings.IndexByte(r.Token, separator[0]) >= 0 {
			return p.begin(r)
		}
		if full := p.pack(r); full != nil {
			return full
		}
	}
	if len(p.open) == 0 {
		return nil
	}
	b := p.open[0]
	p.open = p.open[1:]
	return b
}

// pack adds the result to the open bundle that takes it. If that is full, a new one takes its place.
func (p *packer) pack(r *pipeline.Result) (full *bundle) {
	for i, b := range p.open {
		if !b.takes(r) {
			continue
		}
		if b.add(r) {
			return nil
		}
		p.open[i] = p.begin(r)
		return b
	}
	p.open = append(p.open, p.begin(r))
	return nil
}

// begin makes a bundle of the result that was taken last.
func (p *packer) begin(r *pipeline.Result) *bundle {
	b := &bundle{}
	if n := len(p.empty); n > 0 {
		b, p.empty = p.empty[n-1], p.empty[:n-1]
	}
	*b = bundle{first: p.first + int64(p.packed) - 1, results: b.results[:0]}
	b.add(r)
	return b
}

// reuse takes back a bundle that is written.
func (p *packer) reuse(b *bundle) { p.empty = append(p.empty, b) }
