package fanout

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"tallystream/fanout/bus"
	"tallystream/schemas"
)

// BusOptions are the flags of the bus beside --bus and --bus-listen.
type BusOptions struct {
	Token         string   `help:"Token that the other services bring to the bus of this process; with it they say nats://TOKEN@HOST:PORT." env:"TALLYSTREAM_BUS_TOKEN" placeholder:"TOKEN"`
	Name          string   `help:"Name of the bus of this process among those of its cluster; empty: one is drawn." placeholder:"NAME"`
	Cluster       string   `help:"Tie the bus of this process to others: the same name on every node." placeholder:"NAME"`
	ClusterListen string   `help:"Where the others of the cluster reach the bus of this process." default:"127.0.0.1:6250" placeholder:"HOST:PORT"`
	ClusterSecret string   `help:"Secret that the members of the cluster prove to each other." env:"TALLYSTREAM_BUS_CLUSTER_SECRET" placeholder:"SECRET"`
	Route         []string `help:"Where another member of the cluster listens for members; once for each, this one may be among them." placeholder:"HOST:PORT"`
	Credentials   string   `help:"File of NATS credentials for the bus at --bus." type:"path" placeholder:"FILE"`
	TLSCert       string   `help:"Certificate chain (PEM) of this process on the bus: for the other services, and for members of the cluster, who check each other's." type:"path" placeholder:"FILE"`
	TLSKey        string   `help:"Its private key (PEM)." type:"path" placeholder:"FILE"`
	TLSCA         string   `name:"tls-ca" help:"Who may sign the others' certificates: PEM, or a file of it." env:"TALLYSTREAM_BUS_TLS_CA" placeholder:"PEM|FILE"`
}

func (o *BusOptions) files() bus.TLSFiles {
	return bus.TLSFiles{Certificate: o.TLSCert, Key: o.TLSKey, Authorities: o.TLSCA}
}

// connect joins the bus, which is this process unless another is named.
func (c *Command) connect(election schemas.ElectionID, r prometheus.Registerer, log *slog.Logger) (*bus.Bus, func() error, error) {
	o := bus.Options{URL: c.Bus, Election: election, Name: "fanout", Credentials: c.BusOptions.Credentials, Metrics: bus.NewMetrics(r), Logger: log}
	end := func() error { return nil }
	if c.Bus == "" {
		s, err := c.startBus(log)
		if err != nil {
			return nil, nil, err
		}
		s.Register(r)
		o.Server, end = s, s.Close
	} else if err := c.reachBus(&o); err != nil {
		return nil, nil, err
	}
	b, err := bus.Connect(o)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return b, func() error { return errors.Join(b.Close(), end()) }, nil
}

// reachBus prepares the connection to a bus elsewhere.
func (c *Command) reachBus(o *bus.Options) (err error) {
	if c.BusOptions.Cluster != "" || len(c.BusOptions.Route) > 0 {
		return errors.New("--bus-cluster and --bus-route are for the bus of this process: leave --bus out, or them")
	}
	if files := c.BusOptions.files(); files.Set() {
		o.TLS, err = files.Client()
	}
	return err
}

// startBus makes this process a bus, alone or as a member of a cluster.
func (c *Command) startBus(log *slog.Logger) (_ *bus.Server, err error) {
	flags, files := &c.BusOptions, c.BusOptions.files()
	o := bus.ServerOptions{Listen: c.BusListen, Name: flags.Name, Token: flags.Token, Logger: log}
	if files.Set() {
		if o.TLS, err = files.Server(); err != nil {
			return nil, err
		}
	}
	if flags.Cluster == "" {
		if len(flags.Route) > 0 {
			return nil, errors.New("--bus-route needs --bus-cluster, the name of the cluster")
		}
		return bus.StartServer(o)
	}
	o.Cluster = &bus.ClusterOptions{Name: flags.Cluster, Listen: flags.ClusterListen, Routes: flags.Route, Secret: flags.ClusterSecret}
	if files.Set() {
		if o.Cluster.TLS, err = files.Peer(); err != nil {
			return nil, err
		}
	}
	return bus.StartServer(o)
}
