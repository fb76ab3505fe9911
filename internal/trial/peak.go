package trial

import (
	"fmt"
	"os"
	"strings"
)

// notePeaks notes how large the processes that run have become, where the system tells while they live. What it tells of
// one that has ended counts the test's own size as well, from before the exec.
func (p *Program) notePeaks() {
	p.running.Range(func(pid, _ any) bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return true
		}
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		var size int64
		if _, err := fmt.Sscan(after, &size); err == nil && size > p.Peak.Load() {
			p.Peak.Store(size)
		}
		return true
	})
}
