// Command pgbin prints the directory of the PostgreSQL server programs that the tests would use, or says what to
// install. The Makefile asks it before the tests run.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/bulksub/bulksub/internal/pgcluster"
)

func main() {
	dir, err := pgcluster.FindBinaries(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
