package capacity

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Price is what something costs.
type Price struct {
	Dollars float64 `json:"dollars"`
	Per     string  `json:"per"`
	Source  string  `json:"source"`
}

// Prices by name.
type Prices map[string]Price

// known is when the prices below were last known to the authors. They are list
// prices of us-east-1, without free tiers, discounts and taxes; AWS changes them:
// look at the page that each names before a decision, and override with --price.
const known = "us-east-1, as known in mid-2025"

// DefaultPrices are list prices.
func DefaultPrices() Prices {
	at := func(dollars float64, per, page string) Price {
		return Price{dollars, per, page + " (" + known + ")"}
	}
	const (
		kinesis    = "aws.amazon.com/kinesis/data-streams/pricing"
		dynamodb   = "aws.amazon.com/dynamodb/pricing/on-demand"
		warm       = "aws.amazon.com/dynamodb/pricing/provisioned; developer guide, \"Warm throughput\""
		s3         = "aws.amazon.com/s3/pricing"
		cloudfront = "aws.amazon.com/cloudfront/pricing"
		fargate    = "aws.amazon.com/fargate/pricing"
		kms        = "aws.amazon.com/kms/pricing"
		elb        = "aws.amazon.com/elasticloadbalancing/pricing"
		ec2        = "aws.amazon.com/ec2/pricing/on-demand, \"Data Transfer\""
	)
	return Prices{
		"kinesis-shard-hour":     at(0.015, "a shard and hour", kinesis),
		"kinesis-put-unit":       at(0.014e-6, "a PUT payload unit of 25 KB", kinesis),
		"kinesis-retention-hour": at(0.020, "a shard and hour of retention up to 7 days", kinesis),
		"dynamodb-write-unit":    at(0.625e-6, "a write request unit", dynamodb),
		"dynamodb-read-unit":     at(0.125e-6, "a read request unit", dynamodb),
		"dynamodb-gb-month":      at(0.25, "a GB and month", dynamodb),
		"dynamodb-backup-gb":     at(0.20, "a GB and month of point-in-time recovery", dynamodb),
		"dynamodb-warm-unit":     at(0.00065, "a write unit a second that is warmed, once", warm),
		"s3-put":                 at(0.005e-3, "a PUT", s3),
		"s3-get":                 at(0.0004e-3, "a GET", s3),
		"s3-gb-month":            at(0.023, "a GB and month", s3),
		"cloudfront-request":     at(0.0100e-4, "an HTTPS request", cloudfront),
		"cloudfront-gb":          at(0.085, "a GB out", cloudfront),
		"transfer-gb":            at(0.09, "a GB out", ec2),
		"fargate-cpu-hour":       at(0.04048, "a vCPU and hour", fargate),
		"fargate-gb-hour":        at(0.004445, "a GB of memory and hour", fargate),
		"load-balancer-hour":     at(0.0225, "a balancer and hour, without capacity units", elb),
		"kms-sign":               at(0.15e-4, "a signature of an elliptic curve", kms),
		"kms-key-month":          at(1, "a key and month", kms),
	}
}

// Override replaces prices: values in dollars by name.
func (p Prices) Override(by map[string]float64, source string) error {
	for _, name := range slices.Sorted(maps.Keys(by)) {
		x, ok := p[name]
		if !ok {
			return fmt.Errorf("price %q is not known; the prices are %q", name, slices.Sorted(maps.Keys(p)))
		}
		if v := by[name]; !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("price %s: %g: want 0 or more", name, v)
		}
		x.Dollars, x.Source = by[name], source
		p[name] = x
	}
	return nil
}

// OverrideJSON reads {"kinesis-shard-hour": 0.015, ...}.
func (p Prices) OverrideJSON(b []byte, source string) error {
	var by map[string]float64
	if err := json.Unmarshal(b, &by); err != nil {
		return fmt.Errorf("reading prices from %s: want an object of names and dollars: %w", source, err)
	}
	return p.Override(by, source)
}
