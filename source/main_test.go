package source

import (
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
