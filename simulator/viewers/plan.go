package viewers

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"tallystream/schemas"
)

// Target is one server of the live tier, its address already looked up: what
// was checked is what is connected to.
type Target struct {
	Address netip.AddrPort `json:"address"`
	Host    string         `json:"host"` // for the Host header, and the name in the certificate
	Path    string         `json:"path"`
	TLS     bool           `json:"tls,omitempty"`
}

// Plan says what viewers do. Viewer i follows documents i, i+1, ... of the
// list, and connects to target i, both counted around.
type Plan struct {
	Targets   []Target             `json:"targets"`
	Viewers   int                  `json:"viewers"`
	First     int                  `json:"first"` // number of the first viewer, of those of all processes
	Documents []schemas.DocumentID `json:"documents"`
	Follow    int                  `json:"follow"` // documents that each follows; default 1
	// All follows every document with one subscription, as media with a Key do.
	// Documents may be empty then.
	All     bool   `json:"all,omitempty"`
	Key     string `json:"key,omitempty"`
	Deflate bool   `json:"deflate,omitempty"`
	// Raw targets send frames without a handshake: the comparison with a bare
	// write(2).
	Raw bool `json:"raw,omitempty"`

	// Ramp is connections begun a second; 0: as fast as InFlight lets.
	Ramp float64 `json:"ramp"`
	// Gentle makes Ramp the pace of those who come back, too: a server of
	// somebody else is not to be knocked at by all who were refused.
	Gentle   bool `json:"gentle,omitempty"`
	InFlight int  `json:"in_flight"` // handshakes of one process at a time; default 256
	// Sample is the share of viewers that keep their documents and check every
	// hash. Snapshots come from Bucket, a URL.
	Sample float64 `json:"sample"`
	Bucket string  `json:"bucket,omitempty"`
	// Sources are the addresses to connect from; empty: the system chooses.
	// One address has some 28,000 ports for each target.
	Sources []netip.Addr `json:"sources,omitempty"`
	Seed    uint64       `json:"seed"`

	Handshake time.Duration `json:"handshake"` // until the first frame; default 30 s
	Silence   time.Duration `json:"silence"`   // without a frame: the connection is dead; default 90 s
	PingEvery time.Duration `json:"ping_every"`
}

// Limits of a process. The system's limit of open files is often 20,000.
const (
	MaxViewersPerProcess = 19_000
	maxFollow            = 64
)

func (p *Plan) withDefaults() *Plan {
	q := *p
	if q.Follow == 0 {
		q.Follow = 1
	}
	if q.InFlight == 0 {
		q.InFlight = 256
	}
	if q.Handshake == 0 {
		q.Handshake = 30 * time.Second
	}
	if q.Silence == 0 {
		q.Silence = 90 * time.Second
	}
	if q.PingEvery == 0 {
		q.PingEvery = 10 * time.Second
	}
	return &q
}

// Validate says what is wrong with the plan.
func (p *Plan) Validate() error {
	switch {
	case len(p.Targets) == 0:
		return errors.New("viewers: no target")
	case p.All && p.Key == "":
		return errors.New("viewers: all documents at once want a key")
	case p.Viewers < 1 || p.Viewers > MaxViewersPerProcess:
		return fmt.Errorf("viewers: %d in one process, want 1 to %d", p.Viewers, MaxViewersPerProcess)
	case !p.All && len(p.Documents) == 0:
		return errors.New("viewers: no documents")
	case !p.All && (p.Follow < 0 || p.Follow > min(maxFollow, len(p.Documents))):
		return fmt.Errorf("viewers: following %d documents of %d, want at most %d", p.Follow, len(p.Documents), maxFollow)
	case p.Sample < 0 || p.Sample > 1:
		return fmt.Errorf("viewers: sample %g, want 0 to 1", p.Sample)
	case p.Sample > 0 && p.Bucket == "":
		return errors.New("viewers: a sample needs the bucket's URL")
	case p.Gentle && p.Ramp == 0:
		return errors.New("viewers: a gentle plan wants a ramp")
	case p.Ramp < 0 || p.InFlight < 0:
		return errors.New("viewers: ramp and handshakes in flight want numbers above 0")
	}
	for _, t := range p.Targets {
		if !t.Address.IsValid() || t.Host == "" || !strings.HasPrefix(t.Path, "/") {
			return fmt.Errorf("viewers: target %q: want an address, a host and a path", t.Host)
		}
		if p.Raw && t.TLS {
			return errors.New("viewers: a raw target has no TLS")
		}
	}
	return nil
}

// Split shares the plan out to processes: at least that many, and so many that
// none is above its limit.
func (p *Plan) Split(processes int) []*Plan {
	n := min(max(processes, (p.Viewers+MaxViewersPerProcess-1)/MaxViewersPerProcess, 1), max(p.Viewers, 1))
	out := make([]*Plan, n)
	for i := range out {
		q := *p
		from, to := p.Viewers*i/n, p.Viewers*(i+1)/n
		q.First, q.Viewers = p.First+from, to-from
		q.Ramp = p.Ramp * float64(q.Viewers) / float64(max(p.Viewers, 1))
		q.Seed = p.Seed + uint64(i)
		if len(p.Sources) >= n {
			q.Sources = p.Sources[len(p.Sources)*i/n : len(p.Sources)*(i+1)/n]
		}
		out[i] = &q
	}
	return out
}

// documentsOf is which documents of the list a viewer follows.
func (p *Plan) documentsOf(viewer int) []int32 {
	if p.All {
		return nil // they become known as they come
	}
	out := make([]int32, p.Follow)
	for k := range out {
		out[k] = int32((viewer*p.Follow + k) % len(p.Documents))
	}
	slices.Sort(out)
	return out
}

// sampled reports whether a viewer checks every byte. The share is spread
// evenly.
func (p *Plan) sampled(viewer int) bool {
	return int(float64(viewer+1)*p.Sample) > int(float64(viewer)*p.Sample)
}

// maxInQuery is how many documents are asked for in the query; more are asked
// for in a frame.
const maxInQuery = 8

// query is the path with what a connection asks for.
func (p *Plan) query(path string, at []position) string {
	if len(at) > maxInQuery && !p.All {
		return path
	}
	var b strings.Builder
	b.WriteString(path)
	separator := byte('?')
	if strings.Contains(path, "?") {
		separator = '&'
	}
	add := func(name, value string) {
		b.WriteByte(separator)
		b.WriteString(name)
		b.WriteByte('=')
		b.WriteString(value)
		separator = '&'
	}
	if p.All {
		add("g", url.QueryEscape(string(schemas.AllDocuments)))
		return b.String()
	}
	epoch, versions := versionsOf(at)
	if versions {
		add("e", strconv.FormatUint(uint64(epoch), 10))
	}
	for i := range at {
		add("g", url.QueryEscape(string(p.Documents[at[i].document])))
		if versions {
			v := ""
			if at[i].known && at[i].epoch == epoch {
				v = strconv.FormatUint(uint64(at[i].version), 10)
			}
			add("v", v)
		}
	}
	return b.String()
}

// versionsOf is the epoch whose versions a subscription states: it can be of
// one only.
func versionsOf(at []position) (epoch schemas.Epoch, stated bool) {
	for i := range at {
		if at[i].known {
			epoch, stated = max(epoch, at[i].epoch), true
		}
	}
	return epoch, stated
}

// subscription is a frame that asks for documents, from what the viewer has.
// name gives a document's name.
func subscription(at []position, name func(int32) schemas.DocumentID) []byte {
	s := schemas.Subscribe{Versions: map[schemas.DocumentID]schemas.Version{}}
	s.Epoch, _ = versionsOf(at)
	for i := range at {
		g := name(at[i].document)
		s.Documents = append(s.Documents, g)
		if at[i].known && at[i].epoch == s.Epoch {
			s.Versions[g] = at[i].version
		}
	}
	return s.AppendFrame(nil)
}
