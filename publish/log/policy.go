package log

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy. The specification asks for 32 of each at least.
const (
	MaxPolicy      = 128 << 10 // bytes
	maxPolicyNames = 512       // witnesses and groups
	maxPolicyLogs  = 128
)

// Policy says which logs and witnesses somebody trusts, and how many witnesses
// must have seen a checkpoint (https://c2sp.org/tlog-policy):
//
//	log <verifier key> [<URL>]
//	witness <name> <verifier key> [<URL>]
//	group <name> all|any|<number> <name>...
//	quorum <name>|none
type Policy struct {
	Logs      []PolicyLog
	Witnesses []PolicyWitness

	quorum *voter // nil: none
	named  string // as the quorum line has it
}

// PolicyLog is a trusted key of a log; the key is named as the log's origin.
type PolicyLog struct {
	Key *LogKey
	URL string
}

// PolicyWitness is a trusted witness.
type PolicyWitness struct {
	Name string // within the policy
	Key  *Cosignatory
	URL  string
}

// voter is a witness or a group.
type voter struct {
	name    string
	witness int // index, or -1 for a group
	members []*voter
	need    int
	used    bool // is a member of a group
}

// satisfied reports whether enough of the voter's witnesses have cosigned.
// Every voter is a member once, so this is linear.
func (v *voter) satisfied(cosigned []bool) bool {
	if v.witness >= 0 {
		return cosigned[v.witness]
	}
	n := 0
	for _, m := range v.members {
		if m.satisfied(cosigned) {
			n++
		}
	}
	return n >= v.need
}

// PolicyError says which line of a policy is wrong.
type PolicyError struct {
	Line int // from 1; one behind the last for what is missing
	Want string
}

func (e *PolicyError) Error() string { return fmt.Sprintf("policy line %d: %s", e.Line, e.Want) }

// policyReader is a policy half read.
type policyReader struct {
	policy Policy
	names  map[string]*voter
	line   int
	closed bool // the quorum is known
}

// ParsePolicy reads a policy. Errors are *PolicyError.
func ParsePolicy(b []byte) (*Policy, error) {
	r := &policyReader{names: map[string]*voter{}}
	if len(b) > MaxPolicy {
		return nil, &PolicyError{1, fmt.Sprintf("the file has %d bytes, want at most %d", len(b), MaxPolicy)}
	}
	for len(b) > 0 {
		r.line++
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			return nil, r.fail("want a newline at the end")
		}
		if err := r.read(line); err != nil {
			return nil, err
		}
		b = rest
	}
	if r.line++; !r.closed {
		return nil, r.fail("want a quorum line (\"quorum none\" asks for no witness)")
	}
	return &r.policy, nil
}

func (r *policyReader) fail(format string, args ...any) error {
	return &PolicyError{r.line, fmt.Sprintf(format, args...)}
}

func (r *policyReader) read(line []byte) error {
	for i, c := range line {
		if (c < ' ' && c != '\t') || c == 0x7f {
			return r.fail("control character at column %d", i+1)
		}
	}
	word := strings.FieldsFunc(string(line), func(c rune) bool { return c == ' ' || c == '\t' })
	if len(word) == 0 || word[0][0] == '#' {
		return nil
	}
	switch word[0] {
	case "log":
		return r.log(word[1:])
	case "witness":
		return r.witness(word[1:])
	case "group":
		return r.group(word[1:])
	case "quorum":
		return r.quorum(word[1:])
	}
	return r.fail("%s: want log, witness, group or quorum", strconv.QuoteToASCII(clip(word[0])))
}

func (r *policyReader) log(word []string) error {
	if len(word) < 1 || len(word) > 2 {
		return r.fail("want: log <verifier key> [<URL>]")
	}
	key, err := ParseLogKey(word[0])
	if err != nil {
		return r.fail("%v", err)
	}
	if len(r.policy.Logs) == maxPolicyLogs {
		return r.fail("more than %d logs", maxPolicyLogs)
	}
	for i := range r.policy.Logs {
		if bytes.Equal(r.policy.Logs[i].Key.Public, key.Public) {
			return r.fail("the same public key stands in an earlier log line")
		}
	}
	l := PolicyLog{Key: key}
	if len(word) == 2 {
		l.URL = word[1]
	}
	r.policy.Logs = append(r.policy.Logs, l)
	return nil
}

func (r *policyReader) witness(word []string) error {
	if len(word) < 2 || len(word) > 3 {
		return r.fail("want: witness <name> <verifier key> [<URL>]")
	}
	key, err := ParseCosignatory(word[1])
	if err != nil {
		return r.fail("%v", err)
	}
	for i := range r.policy.Witnesses {
		if bytes.Equal(r.policy.Witnesses[i].Key.public, key.public) {
			return r.fail("the same public key stands in an earlier witness line")
		}
	}
	if err := r.define(&voter{name: word[0], witness: len(r.policy.Witnesses)}); err != nil {
		return err
	}
	w := PolicyWitness{Name: word[0], Key: key}
	if len(word) == 3 {
		w.URL = word[2]
	}
	r.policy.Witnesses = append(r.policy.Witnesses, w)
	return nil
}

// define enters a name.
func (r *policyReader) define(v *voter) error {
	switch {
	case v.name == "none":
		return r.fail("none is a reserved name")
	case r.names[v.name] != nil:
		return r.fail("%s is defined twice", strconv.QuoteToASCII(clip(v.name)))
	case len(r.names) == maxPolicyNames:
		return r.fail("more than %d witnesses and groups", maxPolicyNames)
	}
	r.names[v.name] = v
	return nil
}

func (r *policyReader) group(word []string) error {
	if len(word) < 3 {
		return r.fail("want: group <name> all|any|<number> <name>...")
	}
	g := &voter{name: word[0], witness: -1}
	for _, name := range word[2:] {
		m := r.names[name]
		switch {
		case m == nil:
			return r.fail("%s is not defined on an earlier line", strconv.QuoteToASCII(clip(name)))
		case m.used:
			return r.fail("%s is a member of a group already", strconv.QuoteToASCII(clip(name)))
		}
		m.used = true
		g.members = append(g.members, m)
	}
	switch word[1] {
	case "all":
		g.need = len(g.members)
	case "any":
		g.need = 1
	default:
		n, err := parseSize(word[1])
		if err != nil || n < 1 || n > int64(len(g.members)) {
			return r.fail("%s: want all, any or a number from 1 to %d", strconv.QuoteToASCII(clip(word[1])), len(g.members))
		}
		g.need = int(n)
	}
	return r.define(g)
}

func (r *policyReader) quorum(word []string) error {
	if len(word) != 1 {
		return r.fail("want: quorum <name>|none")
	}
	if r.closed {
		return r.fail("a second quorum line")
	}
	if word[0] != "none" {
		if r.policy.quorum = r.names[word[0]]; r.policy.quorum == nil {
			return r.fail("%s is not defined on an earlier line", strconv.QuoteToASCII(clip(word[0])))
		}
	}
	r.policy.named, r.closed = word[0], true
	return nil
}

// Verdict is what a policy finds in a checkpoint that it accepts.
type Verdict struct {
	Checkpoint *Checkpoint
	Witnesses  []Seen // that cosigned, in the policy's order
}

// Seen is one witness's cosignature.
type Seen struct {
	Name string // within the policy
	At   time.Time
}

// QuorumError: the log signed the checkpoint, but too few witnesses have.
type QuorumError struct {
	Quorum string
	Seen   []Seen
}

func (e *QuorumError) Error() string {
	if len(e.Seen) == 0 {
		return fmt.Sprintf("quorum %s is not reached: no witness cosigned", e.Quorum)
	}
	var names []string
	for i := range e.Seen {
		names = append(names, e.Seen[i].Name)
	}
	return fmt.Sprintf("quorum %s is not reached: only %s cosigned", e.Quorum, strings.Join(names, ", "))
}

// Evaluate accepts a checkpoint that a log of the policy signed and that a
// quorum of its witnesses cosigned. Keys of the log that are known from
// elsewhere, such as the authority's at this size, may be given besides.
//
// Errors wrap ErrUnsigned, ErrSignature or a *QuorumError. A cosignature that
// does not verify refuses the checkpoint.
func (p *Policy) Evaluate(b []byte, logs ...note.Verifier) (*Verdict, error) {
	keys := slices.Clone(logs)
	for i := range p.Logs {
		keys = append(keys, p.Logs[i].Key)
	}
	if len(keys) == 0 {
		return nil, errors.New("evaluating checkpoint: the policy names no log, and none is known from elsewhere")
	}
	c, n, err := OpenCheckpoint(b, keys...)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Checkpoint: c}
	cosigned := make([]bool, len(p.Witnesses))
	for i := range p.Witnesses {
		w := &p.Witnesses[i]
		at, ok, err := w.Key.CosignedAt(n)
		if err != nil {
			return nil, fmt.Errorf("evaluating checkpoint: witness %s: %w", w.Name, err)
		}
		if cosigned[i] = ok; ok {
			v.Witnesses = append(v.Witnesses, Seen{w.Name, at})
		}
	}
	if p.quorum != nil && !p.quorum.satisfied(cosigned) {
		return nil, fmt.Errorf("evaluating checkpoint of size %d: %w", c.Tree.N, &QuorumError{p.named, v.Witnesses})
	}
	return v, nil
}
