package source

import (
	"strings"
	"testing"

	"github.com/bulksub/bulksub/pipeline"
)

// BenchmarkCSV reads files of tokens of 163 characters: once when they are opened, for the digest and the number of their
// rows, and once for the rows.
func BenchmarkCSV(b *testing.B) {
	const rows = 100_000
	text := "token\n" + strings.Repeat(strings.Repeat("c", 22)+":APA91b"+strings.Repeat("x", 134)+"\n", rows)
	path := write(b, "in.csv", text)
	b.ReportAllocs()
	for b.Loop() {
		file, err := open(b, path, "token")
		if err != nil {
			b.Fatal(err)
		}
		read := 0
		for s, more, err := file.Next(b.Context(), pipeline.Segment{}); more || err != nil; s, more, err = file.Next(b.Context(), s) {
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range file.Rows(b.Context(), s) {
				if err != nil {
					b.Fatal(err)
				}
				read++
			}
		}
		if read != rows {
			b.Fatalf("%d rows were read", read)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
