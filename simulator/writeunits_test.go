package simulator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/prometheus/client_golang/prometheus"

	"tallystream/aggregate"
	"tallystream/aggregate/ledger/dynamodb"
	"tallystream/ingest/stream"
	"tallystream/schemas"
	"tallystream/service/cloud"
	"tallystream/service/cloud/mototest"
	"tallystream/simulator/elections"
	"tallystream/simulator/script"
)

// The aims of design and issue: write units of a submission of 30 contests that
// is committed alone, and of the busiest item a second, a tenth of what a
// partition of the table takes.
const (
	aimAlone   = 22
	aimBusiest = 1000 / 10
	contests   = 29 // of the generated country's units: 27 to 30 with ballots
)

type attributes = map[string]types.AttributeValue

// sizeOfItem is an item's size by the developer guide, "DynamoDB item sizes and
// formats": names and strings by their UTF-8 bytes, binary by its bytes, numbers
// by a byte for two significant digits and one more.
func sizeOfItem(it attributes) (n int) {
	for name, v := range it {
		n += len(name)
		switch v := v.(type) {
		case *types.AttributeValueMemberS:
			n += len(v.Value)
		case *types.AttributeValueMemberB:
			n += len(v.Value)
		case *types.AttributeValueMemberN:
			n += (len(strings.TrimRight(v.Value, "0"))+1)/2 + 1
		default:
			panic(fmt.Sprintf("an attribute of type %T", v))
		}
	}
	return n
}

// writeUnits is what writing an item of that size in a transaction costs: two
// write units for each started kilobyte.
func writeUnits(size int) int { return 2 * max(1, (size+1023)/1024) }

// priced is a table in memory that knows what each write costs. It fails on
// calls and expressions that the ledger's adapter has no reason to use.
type priced struct {
	tb testing.TB

	mu    sync.Mutex
	items map[string]map[string]attributes // by pk and sk
	bill  bill
	// cost of each item, by pk and sk; nil: not wanted.
	each map[string]int
}

// bill is what was written.
type bill struct {
	transactions int
	units        map[string]int // by kind of item
	bytes        map[string]int
	items        map[string]int
}

func (b *bill) total() (n int) {
	for _, u := range b.units {
		n += u
	}
	return n
}

func newBill() bill {
	return bill{units: map[string]int{}, bytes: map[string]int{}, items: map[string]int{}}
}

func newPriced(tb testing.TB) *priced {
	return &priced{tb: tb, items: map[string]map[string]attributes{}, bill: newBill()}
}

// kindsOfItems are the first parts of partition keys, and what they are.
var kindsOfItems = map[string]string{"h": "head", "e": "entry", "u": "unit", "t": "tally"}

func keysOf(k attributes) (pk, sk string) {
	return k[cloud.PartitionKey].(*types.AttributeValueMemberS).Value, k[cloud.SortKey].(*types.AttributeValueMemberS).Value
}

func (p *priced) at(k attributes) attributes {
	pk, sk := keysOf(k)
	return p.items[pk][sk]
}

// write stores an item and prices it by the larger of the sizes before and
// after.
func (p *priced) write(it attributes) {
	pk, sk := keysOf(it)
	kind := kindsOfItems[pk[:1]]
	size := max(sizeOfItem(p.items[pk][sk]), sizeOfItem(it))
	p.bill.units[kind] += writeUnits(size)
	p.bill.bytes[kind] += size
	p.bill.items[kind]++
	if p.each != nil {
		p.each[pk+" "+sk] += writeUnits(size)
	}
	if p.items[pk] == nil {
		p.items[pk] = map[string]attributes{}
	}
	p.items[pk][sk] = it
}

func (p *priced) PutItem(_ context.Context, in *sdk.PutItemInput, _ ...func(*sdk.Options)) (*sdk.PutItemOutput, error) {
	pk, sk := keysOf(in.Item)
	if pk != "election" {
		return nil, errors.New("only the election is put outside transactions")
	}
	p.items[pk] = map[string]attributes{sk: in.Item}
	return &sdk.PutItemOutput{}, nil
}

func (p *priced) GetItem(_ context.Context, in *sdk.GetItemInput, _ ...func(*sdk.Options)) (*sdk.GetItemOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &sdk.GetItemOutput{Item: p.at(in.Key)}, nil
}

func (p *priced) BatchGetItem(_ context.Context, in *sdk.BatchGetItemInput, _ ...func(*sdk.Options)) (*sdk.BatchGetItemOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found := map[string][]map[string]types.AttributeValue{}
	for table, keys := range in.RequestItems {
		for _, k := range keys.Keys {
			if it := p.at(k); it != nil {
				found[table] = append(found[table], it)
			}
		}
	}
	return &sdk.BatchGetItemOutput{Responses: found}, nil
}

// Query answers for whole partition keys and for a unit's rows.
func (p *priced) Query(_ context.Context, in *sdk.QueryInput, _ ...func(*sdk.Options)) (*sdk.QueryOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pk := in.ExpressionAttributeValues[":pk"].(*types.AttributeValueMemberS).Value
	prefix := ""
	if v, ok := in.ExpressionAttributeValues[":unit"].(*types.AttributeValueMemberS); ok {
		prefix = v.Value
	} else if len(in.ExpressionAttributeValues) > 1 {
		return nil, errors.New("no such query is expected here")
	}
	out := &sdk.QueryOutput{}
	for _, sk := range slices.Sorted(maps.Keys(p.items[pk])) {
		if strings.HasPrefix(sk, prefix) {
			out.Items = append(out.Items, p.items[pk][sk])
		}
	}
	return out, nil
}

func (p *priced) TransactWriteItems(_ context.Context, in *sdk.TransactWriteItemsInput, _ ...func(*sdk.Options)) (*sdk.TransactWriteItemsOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(in.TransactItems); n > 100 {
		return nil, fmt.Errorf("%d items in a transaction", n)
	}
	p.bill.transactions++
	for _, w := range in.TransactItems {
		switch {
		case w.Put != nil:
			p.write(w.Put.Item)
		case w.Update != nil:
			p.write(p.updated(w.Update))
		default:
			return nil, errors.New("neither put nor update")
		}
	}
	return &sdk.TransactWriteItemsOutput{}, nil
}

// updated is the item after "SET a = :a, b = :b".
func (p *priced) updated(u *types.Update) attributes {
	it := maps.Clone(u.Key)
	maps.Copy(it, p.at(u.Key))
	sets, ok := strings.CutPrefix(aws.ToString(u.UpdateExpression), "SET ")
	if !ok {
		p.tb.Errorf("expression %q", aws.ToString(u.UpdateExpression))
	}
	for _, set := range strings.Split(sets, ", ") {
		name, value, _ := strings.Cut(set, " = ")
		it[name] = u.ExpressionAttributeValues[value]
	}
	return it
}

// handed is a stream that gives what it was handed.
type handed struct {
	partitions int
	records    []stream.Record
	last       schemas.Checkpoint
}

func (h *handed) hand(p schemas.Partition, record []byte) {
	h.last++
	h.records = append(h.records, stream.Record{Partition: p, At: h.last, Bytes: record})
}

func (h *handed) Shards(context.Context, []stream.Position) ([]stream.Shard, error) {
	s := stream.Shard{ID: "shardId-000000000000"}
	for p := range h.partitions {
		s.Partitions = append(s.Partitions, schemas.Partition(p))
	}
	return []stream.Shard{s}, nil
}

func (h *handed) Open(context.Context, stream.Shard, []stream.Position) (stream.Reader, error) {
	return h, nil
}
func (h *handed) Wait(context.Context) error      { return nil }
func (h *handed) Ended() bool                     { return false }
func (h *handed) Behind() (uint64, time.Duration) { return uint64(len(h.records)), 0 }
func (h *handed) Close() error                    { return nil }
func (h *handed) Read(_ context.Context, most int) ([]stream.Record, error) {
	n := min(most, len(h.records))
	out := h.records[:n:n]
	h.records = h.records[n:]
	return out, nil
}

// Position has a cursor as long as Kinesis' are: 56 digits.
func (h *handed) Position(schemas.Partition) stream.Position {
	return stream.Position{Checkpoint: h.last, Cursor: fmt.Sprintf("k1/shardId-000000000000/%056d", h.last)}
}

// country is the generated US, folded by a real worker into a table.
type country struct {
	tb       testing.TB
	truth    *elections.Generated
	script   *script.Script
	election *schemas.Election
	stream   *handed
	worker   *aggregate.Worker
	latest   map[schemas.UnitIndex]script.Event // of each unit in use, its last report
	earlier  map[schemas.UnitIndex]script.Event // and the one before
}

// generated makes the country once: it takes seconds.
var generated = sync.OnceValues(func() (*country, error) {
	g, err := elections.Generate(elections.UnionKind, 2026)
	if err != nil {
		return nil, err
	}
	keys, err := elections.NewKeys(g.Election(), 2026)
	if err != nil {
		return nil, err
	}
	s, err := script.New(script.Config{Truth: g, Keys: keys, Seed: 2026, Revisions: 2})
	if err != nil {
		return nil, err
	}
	c := &country{truth: g, election: g.Election(), script: s, latest: map[schemas.UnitIndex]script.Event{}, earlier: map[schemas.UnitIndex]script.Event{}}
	for e := range s.All() {
		if e.Kind == script.Report && !e.Duplicate {
			if before, ok := c.latest[e.Unit]; ok {
				c.earlier[e.Unit] = before
			}
			c.latest[e.Unit] = e
		}
	}
	return c, nil
})

// newCountry is the country with an empty ledger.
func newCountry(tb testing.TB, api dynamodb.API, table string) *country {
	tb.Helper()
	g, err := generated()
	if err != nil {
		tb.Fatal(err)
	}
	c := *g
	c.tb = tb
	l, err := dynamodb.Open(tb.Context(), c.election, c.truth.Definition(), dynamodb.Config{Client: api, Table: table})
	if err != nil {
		tb.Fatal(err)
	}
	c.stream = &handed{partitions: c.election.Definition.Partitions, last: 5_000_000} // late in a night: positions have their digits
	shards, _ := c.stream.Shards(tb.Context(), nil)
	c.worker, err = aggregate.NewWorker(aggregate.Config{
		Election: c.election, Source: c.stream, Ledger: l, OnCommit: func() {},
		Metrics: aggregate.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(slog.DiscardHandler), Full: 1 << 20,
	}, shards[0])
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.worker.Load(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return &c
}

// send folds the events' submissions and commits them together.
func (c *country) send(events ...script.Event) {
	c.tb.Helper()
	for _, e := range events {
		record, err := c.script.Envelope(e, nil)
		if err != nil {
			c.tb.Fatal(err)
		}
		c.stream.hand(c.election.PartitionOf(e.Unit), record)
	}
	for len(c.stream.records) > 0 {
		if _, err := c.worker.Take(c.tb.Context()); err != nil {
			c.tb.Fatal(err)
		}
		if _, err := c.worker.Settle(c.tb.Context()); err != nil {
			c.tb.Fatal(err)
		}
	}
}

// begin folds the first report of all units of these, so that tallies have
// the digits that they have at a night's end, and returns those with 30 contests
// that report again, in the order of time.
func (c *country) begin(units []schemas.UnitIndex) (again []script.Event) {
	c.tb.Helper()
	for part := range slices.Chunk(units, 30) {
		var events []script.Event
		for _, u := range part {
			if e, ok := c.earlier[u]; ok {
				events = append(events, e)
				if len(c.election.Units[u].Style.Sections)-1 >= contests {
					again = append(again, c.latest[u])
				}
			}
		}
		c.send(events...)
	}
	slices.SortStableFunc(again, func(a, b script.Event) int { return cmp.Compare(a.Offset, b.Offset) })
	return again
}

// unitsOf lists a partition's units.
func (c *country) unitsOf(p schemas.Partition) (units []schemas.UnitIndex) {
	for u := range c.election.Units {
		if c.election.PartitionOf(schemas.UnitIndex(u)) == p {
			units = append(units, schemas.UnitIndex(u))
		}
	}
	return units
}

func (c *country) largest() schemas.CountyIndex {
	best := 0
	for i := range c.election.Counties {
		if len(c.election.Counties[i].Units) > len(c.election.Counties[best].Units) {
			best = i
		}
	}
	return schemas.CountyIndex(best)
}

// TestWriteUnitsOfASubmission measures what a submission of 30 contests costs,
// as stored: alone, and in micro-batches as they come at several rates.
func TestWriteUnitsOfASubmission(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: the country is generated, -short")
	}
	table := newPriced(t)
	c := newCountry(t, table, "ledger")
	again := c.begin(c.unitsOf(c.election.Counties[c.largest()].Partition))
	table.bill = newBill()
	const alone = 400
	sizes := 0
	// Every few of them: the night's early and late counties.
	for i := range alone {
		e := again[i*len(again)/alone]
		record, err := c.script.Envelope(e, nil)
		if err != nil {
			t.Fatal(err)
		}
		sizes += len(record)
		c.send(e)
		again[i*len(again)/alone].Unit = -1
	}
	again = slices.DeleteFunc(again, func(e script.Event) bool { return e.Unit < 0 })
	t.Logf("%d submissions of 29 and 30 contests, %d bytes each, of one of %d partitions; committed alone:", alone, sizes/alone, c.election.Definition.Partitions)
	for _, kind := range []string{"head", "entry", "unit", "tally"} {
		t.Logf("  %-6s %5d bytes  %5.2f write units", kind, table.bill.bytes[kind]/table.bill.items[kind], float64(table.bill.units[kind])/alone)
	}
	each := float64(table.bill.total()) / alone
	t.Logf("  %-6s %18.2f write units (with the heads of quiet partitions, which are taken along every 4,096 records)", "all", each)
	if each > aimAlone {
		t.Errorf("a submission committed alone costs %.2f write units, the aim is %d", each, aimAlone)
	}
	if n := table.bill.items["entry"]; n != alone || table.bill.transactions < alone {
		t.Errorf("%d entries in %d transactions, want one in each", n, table.bill.transactions)
	}
	// In batches: a partition's of 100 ms at these rates of the whole country.
	partitions := float64(c.election.Definition.Partitions)
	for i, rate := range []float64{160, 375, 1000, 4000} {
		per := max(1, int(math.Round(rate*aggregate.DefaultGap.Seconds()/partitions)))
		part := again[i*len(again)/4:][:min(800, len(again)/4)] // as they come, one after the other
		table.bill = newBill()
		for batch := range slices.Chunk(part, per) {
			c.send(batch...)
		}
		t.Logf("  in batches of %2d (%5.0f a second over %d partitions): %5.2f write units a submission", per, rate, int(partitions), float64(table.bill.total())/float64(len(part)))
	}
}

// TestNoWriteUnitsPileUpOnOneItem: in a US night at 50 times its average rate,
// no item takes a tenth of a partition's 1,000 write units a second.
func TestNoWriteUnitsPileUpOnOneItem(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: the country is generated, -short")
	}
	table := newPriced(t)
	c := newCountry(t, table, "ledger")
	county := c.largest()
	c.begin(c.election.Counties[county].Units)
	pk := fmt.Sprintf("t/%d", c.election.Counties[county].Partition)
	size := sizeOfItem(table.items[pk][string(c.election.Counties[county].ID)])
	// 3 submissions of each unit in 20 hours, 50 times as fast.
	rate := 50 * 3 * float64(len(c.election.Units)) / script.DefaultSpan.Seconds()
	share := float64(len(c.election.Counties[county].Units)) / float64(len(c.election.Units))
	commits := 1 / aggregate.DefaultGap.Seconds() // at most, of one partition
	touched := commits * (1 - math.Exp(-rate*share/commits))
	tally, head := touched*float64(writeUnits(size)), commits*float64(writeUnits(200))
	t.Logf("%.0f submissions a second, %.2f%% of them of %s, whose tally has %d bytes (%d write units):", rate, 100*share, c.election.Counties[county].ID, size, writeUnits(size))
	t.Logf("  its tally is written %.1f times a second: %.0f write units; a head at most %.0f times: %.0f", touched, tally, commits, head)
	if busiest := max(tally, head); busiest >= aimBusiest {
		t.Errorf("the busiest item takes %.0f write units a second, want fewer than %d", busiest, aimBusiest)
	}
	// The same, played: one second after the other, each of ten micro-batches.
	r := rand.New(rand.NewPCG(5, 6))
	units := slices.Clone(c.election.Counties[county].Units)
	r.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] })
	const seconds = 20
	table.each = map[string]int{}
	for range seconds * int(commits) {
		for at := r.ExpFloat64(); at < rate*share/commits && len(units) > 0; at += r.ExpFloat64() {
			if e, ok := c.latest[units[0]]; ok {
				record, err := c.script.Envelope(e, nil)
				if err != nil {
					t.Fatal(err)
				}
				c.stream.hand(c.election.PartitionOf(e.Unit), record)
			}
			units = units[1:]
		}
		c.send()
	}
	busiest := slices.MaxFunc(slices.Collect(maps.Keys(table.each)), func(a, b string) int { return cmp.Compare(table.each[a], table.each[b]) })
	t.Logf("  played for %d seconds: the busiest item is %q with %.0f write units a second", seconds, busiest, float64(table.each[busiest])/seconds)
	if float64(table.each[busiest])/seconds >= aimBusiest {
		t.Errorf("played, it takes %.0f", float64(table.each[busiest])/seconds)
	}
}

// TestMotoAgreesOnWriteUnits holds our prices against an emulator's.
func TestMotoAgreesOnWriteUnits(t *testing.T) {
	clients := mototest.Start(t)
	plan := mototest.Names(t, "us").Tables(cloud.Size{})[0]
	_, err := clients.DynamoDB.CreateTable(t.Context(), &sdk.CreateTableInput{
		TableName: &plan.Name, BillingMode: types.BillingMode(plan.BillingMode),
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: &plan.PartitionKey, AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: &plan.SortKey, AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: &plan.PartitionKey, KeyType: types.KeyTypeHash}, {AttributeName: &plan.SortKey, KeyType: types.KeyTypeRange},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	both := &compared{priced: newPriced(t), API: clients.DynamoDB}
	c := newCountry(t, both, plan.Name)
	units := c.election.Counties[c.election.Units[9000].County].Units
	for _, u := range units[:min(20, len(units))] {
		for _, e := range []script.Event{c.earlier[u], c.latest[u]} {
			if e.Revision > 0 {
				c.send(e)
			}
		}
	}
	t.Logf("%d transactions: %d write units by our rule, %.0f by moto", both.priced.bill.transactions, both.priced.bill.total(), both.units)
	if both.units != float64(both.priced.bill.total()) {
		t.Error("they differ")
	}
}

// compared sends transactions to both; the emulator answers.
type compared struct {
	dynamodb.API
	priced *priced
	units  float64
}

func (c *compared) TransactWriteItems(ctx context.Context, in *sdk.TransactWriteItemsInput, o ...func(*sdk.Options)) (*sdk.TransactWriteItemsOutput, error) {
	out, err := c.API.TransactWriteItems(ctx, in, o...)
	if err != nil {
		return nil, err
	}
	for _, used := range out.ConsumedCapacity {
		c.units += aws.ToFloat64(used.CapacityUnits)
	}
	_, err = c.priced.TransactWriteItems(ctx, in)
	return out, err
}
