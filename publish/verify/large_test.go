package verify_test

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"tallystream/publish/verify"
	"tallystream/schemas"
)

// TestManyMegabytesInOneDecisionLeaveAWholeLog: the publisher writes them in
// several calls, and the tree that ends behind the last of them needs tiles that the
// first ones change.
func TestManyMegabytesInOneDecisionLeaveAWholeLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t)
		time.Sleep(2 * time.Second)
		for i := range 600 {
			record := append(bytes.Repeat([]byte("poison "), 8000), byte(i), byte(i>>8))
			x.ledgers.add(entry(x.e, record, schemas.EntryHeld, schemas.HoldPoison), record, nil)
		}
		if r, _ := check(t, verify.Options{Source: x.close()}); r.Verdict != verify.Verified {
			t.Error(print(r))
		}
	})
}
