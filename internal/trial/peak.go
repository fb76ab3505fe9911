package trial

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// notePeaks notes how large the processes that run have become and how many files they have open, where the system
// tells while they live. What it tells of the size of one that has ended counts the test's own as well, from before the
// exec.
func (p *Program) notePeaks() {
	for _, it := range p.Herd.All() {
		if files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", it.Pid)); err == nil {
			raise(&p.Files, int64(len(files)))
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", it.Pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		var size int64
		if _, err := fmt.Sscan(after, &size); err == nil {
			raise(&p.Peak, size)
		}
	}
}

func raise(peak *atomic.Int64, to int64) {
	for old := peak.Load(); to > old && !peak.CompareAndSwap(old, to); old = peak.Load() {
	}
}
