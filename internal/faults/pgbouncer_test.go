package faults

import (
	"testing"

	"github.com/bulksub/bulksub/internal/pgtest"
	"github.com/bulksub/bulksub/internal/trial"
)

// F20: PgBouncer in transaction mode, where the next transaction is another session's. Debian's (1.18) knows nothing of
// prepared statements. Every third storm goes through one as well, and so do scripts of cmd/bulksub.
func TestPgBouncer(t *testing.T) {
	t.Parallel()
	s := newScene(t, trial.Mixed)
	pooler := s.throughPgBouncer("")
	s.slack = batches
	s.finish("--prune", "delete")
	reached(t, "clients came to it", pooler.Clients(t), 2)
}

// throughPgBouncer puts a PgBouncer between the proxy and the database, where all are the user.
func (s *scene) throughPgBouncer(user string) *pgtest.Pooler {
	s.t.Helper()
	pooler := pgtest.NewPooler(s.t, s.db.Config().ConnString(), user)
	s.proxy.leadTo(pooler.URL(s.db.Config().ConnConfig.Database))
	return pooler
}
