// Package check reads OpenTofu modules as text and says what would fail later:
// against the provider's schema, between modules, and inside each. It needs no
// tofu, no provider and no account.
//
// Invariant: values in, findings out. A tree of files goes in as fs.FS, so a test
// can plant a mistake in a copy and see it found.
package check

import (
	"fmt"
	"sort"

	"github.com/hashicorp/hcl/v2"
)

// Finding is one mistake and where it is.
type Finding struct {
	At      hcl.Range
	Message string
}

// String is "file:line: message".
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s", f.At.Filename, f.At.Start.Line, f.Message)
}

// findings collects, and gives them back in the order of the text.
type findings []Finding

func (f *findings) add(at hcl.Range, format string, args ...any) {
	*f = append(*f, Finding{at, fmt.Sprintf(format, args...)})
}

func (f findings) sorted() []Finding {
	sort.SliceStable(f, func(i, j int) bool {
		if f[i].At.Filename != f[j].At.Filename {
			return f[i].At.Filename < f[j].At.Filename
		}
		return f[i].At.Start.Line < f[j].At.Start.Line
	})
	return f
}
