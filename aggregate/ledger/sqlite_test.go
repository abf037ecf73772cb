package ledger_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"tallystream/aggregate/ledger"
	"tallystream/aggregate/ledger/ledgertest"
	"tallystream/schemas"
)

func TestSQLiteConforms(t *testing.T) {
	defer goleak.VerifyNone(t)
	ledgertest.Run(t, func(t *testing.T) ledgertest.Open {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return func(e *schemas.Election) (ledgertest.Ledger, error) { return ledger.OpenSQLite(path, e) }
	})
}
