package tofu

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"

	"tallystream/infra/check"
)

// Policy is something that must be true of every deployment.
type Policy struct {
	Name  string
	Rule  string // what it demands, in a sentence
	Check func(Deployment) []check.Finding
}

// Policies are all of them, in the order in which infra/README.md lists them.
var Policies = []Policy{
	{"encryption", "What is private is encrypted with a key of ours, what is public with AWS's.", encryption},
	{"keys", "Data keys rotate; the signing key is Ed25519, in all regions, and never rotates.", keys},
	{"public", "No bucket is public; what is published is read through CloudFront.", public},
	{"rights", "No right is given by a wildcard, but where AWS knows no other way.", rights},
	{"one-writer", "Only the writing region has the right to write tallies, objects and signatures.", oneWriter},
	{"recovery", "Tables can be restored to a second and nothing that holds data can be deleted by mistake.", recovery},
	{"retention", "The stream keeps a week, logs and published objects what the law asks for.", retention},
	{"archive", "Flow, access and audit logs go to a bucket of a second account.", archive},
	{"closed", "Security groups are closed by default; one door is open to everybody.", closed},
	{"isolated", "Tasks have no public address, no way to the internet, and nobody can enter them.", isolated},
	{"containers", "Containers cannot write their root, are nobody, and hold no capabilities.", containers},
	{"digests", "Images are named by digest, functions by version and hash.", digests},
	{"instances", "Machines answer for their metadata to version 2 of its service only, and their disks are encrypted.", instances},
	{"secrets", "No secret stands in the text or in the state.", secrets},
	{"tls", "TLS 1.2 at least wherever a stranger connects, 1.3 between the nodes of the bus.", tls},
	{"scaling", "Each service that can be many scales by what it runs out of, and before known peaks by the clock.", scaling},
	{"alarms", "Each objective has an alarm, each alarm calls somebody and links to a runbook.", alarms},
	{"tags", "Everything that can carry tags carries them.", tags},
}

// look collects findings of one policy.
type look struct {
	Deployment
	found []check.Finding
}

func (l *look) add(at hcl.Range, format string, args ...any) {
	l.found = append(l.found, check.Finding{At: at, Message: fmt.Sprintf(format, args...)})
}

// each calls fn for every block of a kind and type, in all modules.
func (l *look) each(kind, typ string, fn func(*check.Module, *check.Block)) {
	for _, dir := range check.Dirs(l.Modules) {
		for _, b := range l.Modules[dir].Of(kind, typ) {
			fn(l.Modules[dir], b)
		}
	}
}

// eachCall calls fn for every call of a module. Whatever that module only hands on
// to its resources must be right in each.
func (l *look) eachCall(dir string, fn func(*check.Module, *check.Block)) {
	l.each("module", "", func(m *check.Module, call *check.Block) {
		if m.Called(call) == dir {
			fn(m, call)
		}
	})
}

// want adds a finding unless the argument at a path is one of the wanted texts.
func (l *look) want(m *check.Module, b *check.Block, wanted []string, path ...string) {
	got := at(m, b.Body, path...)
	for _, w := range wanted {
		if got == w {
			return
		}
	}
	l.add(b.At, "%s: %s is %q, want %q", b.Address(), path[len(path)-1], got, wanted)
}

// present adds a finding if there is nothing at a path.
func (l *look) present(m *check.Module, b *check.Block, path ...string) {
	if at(m, b.Body, path...) == "" {
		l.add(b.At, "%s: %v is missing", b.Address(), path)
	}
}

// companion finds the block of a type whose argument refers to b, such as a
// bucket's policy, or adds a finding and returns nil.
func (l *look) companion(m *check.Module, b *check.Block, typ, argumentName string) *check.Block {
	for _, c := range m.Of("resource", typ) {
		if got := argument(m, c.Body, argumentName); got == b.Address()+".id" || got == b.Address()+".bucket" {
			return c
		}
	}
	l.add(b.At, "%s: there is no %s for it", b.Address(), typ)
	return nil
}
