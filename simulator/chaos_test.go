package simulator

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/publish/stores"
	"tallystream/service"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/service/servicetest"
)

// chaosFor is how long processes are killed. The night lasts a little longer.
var chaosFor = flag.Duration("chaos", 0, "run the chaos tests, killing processes at random for so long")

// chaos is a deployment of several copies of each service, which are killed at
// random and started again, behind load balancers.
type chaos struct {
	t      *testing.T
	binary string
	random *rand.Rand // of the killer alone
	copies []*replica

	ending  atomic.Bool
	ended   chan struct{}  // closed with ending
	kills   map[string]int // by service; of the killer alone
	running sync.WaitGroup
}

// replica is one copy of a service.
type replica struct {
	service string
	args    []string
	rest    time.Duration // between two lives

	mu  sync.Mutex
	cmd *exec.Cmd // nil: between two lives. Guarded by mu
	log tail
}

// tail keeps the end of what a process says.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b); n > 16<<10 {
		t.b = append(t.b[:0], t.b[n-8<<10:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func newChaos(t *testing.T, seed uint64) *chaos {
	t.Logf("seed %d", seed)
	c := &chaos{t: t, binary: buildBinary(t), random: rand.New(rand.NewPCG(seed, 0)), ended: make(chan struct{}), kills: map[string]int{}}
	t.Cleanup(c.end)
	return c
}

// usualRest is how long a process supervisor waits.
const usualRest = 150 * time.Millisecond

// add starts a copy, and starts it again whenever it ends.
func (c *chaos) add(service string, args ...string) { c.addResting(usualRest, service, args...) }

// addResting starts a copy, and starts it again a while after it ends.
func (c *chaos) addResting(rest time.Duration, service string, args ...string) {
	r := &replica{service: service, args: append([]string{service}, args...), rest: rest}
	c.copies = append(c.copies, r)
	c.running.Go(func() {
		for !c.ending.Load() {
			if err := c.live(r); err != nil {
				c.t.Error(err)
				return
			}
			select {
			case <-time.After(r.rest):
			case <-c.ended:
			}
		}
	})
}

// live is one life of a copy.
func (c *chaos) live(r *replica) error {
	cmd := exec.Command(c.binary, r.args...)
	cmd.Stderr = &r.log
	r.mu.Lock()
	if c.ending.Load() {
		r.mu.Unlock()
		return nil
	}
	err := cmd.Start()
	if err == nil {
		r.cmd = cmd
	}
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("starting %s: %w", r.service, err)
	}
	_ = cmd.Wait() // killed, fenced, or stopped in the end
	r.mu.Lock()
	r.cmd = nil
	r.mu.Unlock()
	return nil
}

func (r *replica) signal(s syscall.Signal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd != nil && r.cmd.Process.Signal(s) == nil
}

// kill ends a random copy with SIGKILL every now and then, for as long as the flag
// says and until no service is spared.
func (c *chaos) kill(ctx context.Context) {
	for begun := time.Now(); time.Since(begun) < *chaosFor || c.spares(); {
		if !pause(ctx, time.Duration(300+c.random.IntN(1500))*time.Millisecond) {
			return
		}
		for _, r := range c.inTurn() {
			if r.signal(syscall.SIGKILL) {
				c.kills[r.service]++
				break
			}
		}
	}
}

// inTurn are the copies in random order, those of services that were spared so
// far before the others: a copy between two lives cannot be killed.
func (c *chaos) inTurn() []*replica {
	turn := slices.Clone(c.copies)
	c.random.Shuffle(len(turn), func(i, k int) { turn[i], turn[k] = turn[k], turn[i] })
	slices.SortStableFunc(turn, func(a, b *replica) int { return min(c.kills[a.service], 1) - min(c.kills[b.service], 1) })
	return turn
}

// spares says that there is a service of which no copy was killed yet.
func (c *chaos) spares() bool {
	return slices.ContainsFunc(c.copies, func(r *replica) bool { return c.kills[r.service] == 0 })
}

// pause is false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// end stops everything; how a process ends does not matter any more.
func (c *chaos) end() {
	c.ending.Store(true)
	close(c.ended)
	for _, r := range c.copies {
		r.signal(syscall.SIGTERM)
	}
	done := make(chan struct{})
	go func() { c.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		for _, r := range c.copies {
			r.signal(syscall.SIGKILL)
		}
		<-done
	}
	if c.t.Failed() {
		for _, r := range c.copies {
			c.t.Logf("---- %s\n%s", strings.Join(r.args, " "), &r.log)
		}
	}
}

// balancer passes connections on to whichever backend takes them, as a load
// balancer that has not noticed yet who is gone.
func balancer(t *testing.T, backends ...string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var next atomic.Uint64
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go passOn(client, backends, int(next.Add(1)))
		}
	}()
	return l.Addr().String()
}

func passOn(client net.Conn, backends []string, first int) {
	defer client.Close()
	for i := range backends {
		server, err := net.DialTimeout("tcp", backends[(first+i)%len(backends)], time.Second)
		if err != nil {
			continue
		}
		go func() {
			_, _ = io.Copy(server, client)
			server.Close()
		}()
		_, _ = io.Copy(client, server)
		return
	}
}

// night plays a night through the deployment while it is being killed, and
// wants every number to agree. A gate keeps a third of it until that is done, so that
// the night is not over before.
func (c *chaos) night(d *drive, data service.Data, ingest, public string, meanwhile ...func(context.Context)) {
	gate, total := servicetest.StartGate(c.t, ingest, 0), d.script.Expected().Sent
	gate.Open(total * 2 / 3)
	r, err := newRemote(data, gate.URL, public)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), *chaosFor+10*time.Minute)
	defer cancel()
	var others, rest sync.WaitGroup
	for _, f := range append(meanwhile, c.kill) {
		others.Go(func() { f(ctx) })
	}
	rest.Go(func() { others.Wait(); gate.OpenWide() })
	report, err := d.play(ctx, r)
	cancel()
	rest.Wait()
	if err != nil {
		c.t.Fatalf("%v", err)
	}
	if !report.Reconciled {
		c.t.Errorf("not reconciled:\n%s", strings.Join(report.Mismatches, "\n"))
	}
	if c.spares() {
		c.t.Errorf("killed %v, and not all services", c.kills)
	}
	c.t.Logf("killed %v; %d submissions, %d retries, %d resyncs, %d snapshots, %d sums equal", c.kills, report.Submissions.Sent,
		report.Submissions.Retries, report.Viewers.Resyncs, report.Snapshots, report.Checked)
}

// chaosNight is a county's night that lasts a little longer than the killing.
func chaosNight(t *testing.T, seed uint64, keys ...string) (*drive, service.Data) {
	if *chaosFor == 0 {
		t.Skip("a chaos test runs for minutes: go test ./simulator -run Chaos -chaos 1m")
	}
	flags := electionFlags{Generate: "county", Seed: seed, Revisions: 3, Released: 0.5}
	var out bytes.Buffer
	const submissions = 450 // of such a county
	speed := fmt.Sprintf("%.2f/s", submissions/(1.1*chaosFor.Seconds()))
	d, err := newDrive(t.Context(), flags, driveFlags{Speed: speed, Viewers: 10, Clients: 32}, &out)
	if err != nil {
		t.Fatal(err)
	}
	data := service.Data{Dir: t.TempDir()}
	if err := d.writeElection(data, keys...); err != nil {
		t.Fatal(err)
	}
	return d, data
}

// takeover is how long a publisher that was overtaken stays away. On the embedded
// engines the later of two takes over from the earlier, which then ends.
const takeover = 5 * time.Second

// TestChaosOnTheEmbeddedEngines: the second ingest takes over when the first is
// killed, since only one can write the stream; aggregators fight over heads,
// publishers take over from each other, and one fanout holds the bus.
func TestChaosOnTheEmbeddedEngines(t *testing.T) {
	const seed = 21
	d, data := chaosNight(t, seed, "ingest", "publish")
	c := newChaos(t, seed)
	publics, bus, bucket := []string{servicetest.FreeAddress(t), servicetest.FreeAddress(t)}, servicetest.FreeAddress(t), t.TempDir()
	common := []string{"--data", data.Dir, "--bus", "nats://" + bus}
	c.add("fanout", "--data", data.Dir, "--bucket", bucket, "--listen", publics[0], "--bus-listen", bus)
	c.add("fanout", append(slices.Clone(common), "--bucket", bucket, "--listen", publics[1])...)
	var ingests []string
	for range 2 {
		at := servicetest.FreeAddress(t)
		ingests = append(ingests, at)
		c.add("ingest", append(slices.Clone(common), "--listen", at, "--limit-failure-rate=-1", "--limit-key-rate=-1")...)
		c.add("aggregate", common...)
		c.addResting(takeover, "publish", append(slices.Clone(common), "--bucket", bucket, "--export-every", "1s", "--export-rate", "1e9", "--heartbeat", "2s")...)
	}
	c.night(d, data, "http://"+balancer(t, ingests...), "http://"+balancer(t, publics...))
}

// TestChaosOnAWS runs three copies of most services on moto, and splits and
// merges shards meanwhile.
func TestChaosOnAWS(t *testing.T) {
	const seed = 22
	d, data := chaosNight(t, seed, "ingest", "publish")
	endpoint := mototest.Endpoint(t)
	options := mototest.At(endpoint)
	options.Prefix = fmt.Sprintf("chaos-%d", os.Getpid())
	clients := mototest.Start(t)
	election := d.truth.Election().Definition.Election
	names, err := clients.Names(t.Context(), options, election)
	if err != nil {
		t.Fatal(err)
	}
	setup := cloud.Setup{Clients: clients, Plan: names.Plan(cloud.Size{Shards: 2}, clients.Region)}
	if _, err := setup.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := newChaos(t, seed)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	bus := servicetest.FreeAddress(t)
	at := []string{"--data", data.Dir, "--stores", "aws", "--aws-endpoint", endpoint, "--aws-region", options.Region, "--aws-prefix", options.Prefix}
	common := append(slices.Clone(at), "--bus", "nats://"+bus)
	var ingests, lives []string
	for i := range 2 {
		ingests, lives = append(ingests, servicetest.FreeAddress(t)), append(lives, servicetest.FreeAddress(t))
		live := append(slices.Clone(at), "--listen", lives[i])
		if i == 0 {
			live = append(live, "--bus-listen", bus)
		} else {
			live = append(live, "--bus", "nats://"+bus)
		}
		c.add("fanout", live...)
		c.add("ingest", append(slices.Clone(common), "--listen", ingests[i], "--limit-failure-rate=-1", "--limit-key-rate=-1")...)
		c.add("publish", append(slices.Clone(common), "--export-every", "1s", "--export-rate", "1e9", "--heartbeat", "2s")...)
	}
	for range 3 {
		c.add("aggregate", common...)
	}
	public := front(t, d, data, options, balancer(t, lives...))
	c.night(d, data, "http://"+balancer(t, ingests...), public, func(ctx context.Context) {
		done := reshard(ctx, t, clients, names.Stream, rand.New(rand.NewPCG(seed, 1)))
		t.Logf("%d splits and merges", done)
		if done < fewestReshards {
			t.Errorf("only %d splits and merges", done)
		}
	})
}

// front stands for the CDN: live connections go to the fanout, all else comes
// from the bucket.
func front(t *testing.T, d *drive, data service.Data, options cloud.Options, live string) string {
	opened, err := data.Open()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := stores.Open(t.Context(), stores.Config{
		Options: service.Options{Data: data.Dir, Stores: service.AWS, Cloud: options}, Opened: opened,
		Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := kept.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: live})
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	mux.Handle("/v1/", proxy)
	mux.Handle("/", bucket.Handler())
	s := httptest.NewServer(mux)
	t.Cleanup(func() { s.Close(); _ = kept.Close() })
	return s.URL
}

// fewestReshards is how often a chaos test splits or merges at least, however long that takes.
const fewestReshards = 2

// reshard splits a random open shard or merges two neighbours every few
// seconds, as long as processes are killed.
func reshard(ctx context.Context, t *testing.T, clients *cloud.Clients, stream string, random *rand.Rand) (done int) {
	for begun := time.Now(); time.Since(begun) < *chaosFor || done < fewestReshards; {
		if !pause(ctx, time.Duration(2+random.IntN(4))*time.Second) {
			return done
		}
		err := reshardOnce(ctx, clients, stream, random)
		switch {
		case err == nil:
			done++
		case ctx.Err() == nil && !errors.Is(err, errNothingToReshard):
			t.Errorf("resharding: %v", err)
			return done
		}
	}
	return done
}

var errNothingToReshard = errors.New("no shard to split or merge")

func reshardOnce(ctx context.Context, clients *cloud.Clients, stream string, random *rand.Rand) error {
	out, err := clients.Kinesis.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &stream})
	if err != nil {
		return err
	}
	open := slices.DeleteFunc(out.Shards, func(s types.Shard) bool { return s.SequenceNumberRange.EndingSequenceNumber != nil })
	slices.SortFunc(open, func(a, b types.Shard) int {
		return hashKey(a.HashKeyRange.StartingHashKey).Cmp(hashKey(b.HashKeyRange.StartingHashKey))
	})
	if len(open) == 0 {
		return errNothingToReshard
	}
	i := random.IntN(len(open))
	if len(open) > 1 && (len(open) >= 4 || random.IntN(2) == 0) {
		i = random.IntN(len(open) - 1)
		_, err = clients.Kinesis.MergeShards(ctx, &kinesis.MergeShardsInput{StreamName: &stream, ShardToMerge: open[i].ShardId, AdjacentShardToMerge: open[i+1].ShardId})
		return err
	}
	middle := new(big.Int).Add(hashKey(open[i].HashKeyRange.StartingHashKey), hashKey(open[i].HashKeyRange.EndingHashKey))
	middle.Rsh(middle, 1)
	_, err = clients.Kinesis.SplitShard(ctx, &kinesis.SplitShardInput{StreamName: &stream, ShardToSplit: open[i].ShardId, NewStartingHashKey: aws.String(middle.String())})
	return err
}

func hashKey(s *string) *big.Int {
	n, _ := new(big.Int).SetString(*s, 10)
	return n
}
