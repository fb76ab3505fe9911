package trial

// Summary is what a run says at its end, with --json, as a reader of the README knows it.
type Summary struct {
	Job           string  `json:"job"`
	State         string  `json:"state"`
	Rows          int64   `json:"rows"`
	OK            int64   `json:"ok"`
	NotFound      int64   `json:"not_found"`
	Invalid       int64   `json:"invalid"`
	TooManyTopics int64   `json:"too_many_topics"`
	Denied        int64   `json:"denied"`
	Failed        int64   `json:"failed"`
	Malformed     int64   `json:"malformed"`
	Pruned        int64   `json:"pruned"`
	Requests      int64   `json:"requests"`
	Retries       int64   `json:"retries"`
	Seconds       float64 `json:"seconds"`

	Text  []byte `json:"-"` // the object itself
	Words string `json:"-"` // standard error
}

// counts are the numbers of rows by status, without those that are none.
func (s Summary) counts() map[string]int64 {
	counts := map[string]int64{
		"ok": s.OK, "not_found": s.NotFound, "invalid": s.Invalid, "too_many_topics": s.TooManyTopics,
		"denied": s.Denied, "failed": s.Failed, "malformed": s.Malformed,
	}
	for status, n := range counts {
		if n == 0 {
			delete(counts, status)
		}
	}
	return counts
}
