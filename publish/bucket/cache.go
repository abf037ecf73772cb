package bucket

import "sync"

const (
	// cacheBytes bounds the memory for objects to serve.
	cacheBytes = 64 << 20
	// cachedObject is the largest object that is kept in memory; larger ones
	// are served from their files.
	cachedObject = 1 << 20
)

// cache holds objects in two generations. A look-up moves an object into the
// young one; when that is full it becomes the old one, and the old one is
// forgotten. So what nobody asks for leaves, and a hit of a young object,
// which is nearly every hit, changes nothing.
type cache struct {
	mu         sync.RWMutex // guards what follows
	young, old map[string]*object
	bytes      int // of young
}

func newCache() *cache { return &cache{young: map[string]*object{}} }

func (c *cache) get(key string) *object {
	c.mu.RLock()
	o := c.young[key]
	was := c.old[key]
	c.mu.RUnlock()
	if o == nil && was != nil {
		c.put(key, was)
		return was
	}
	return o
}

func (c *cache) put(key string, o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.young[key]; before != nil {
		c.bytes -= before.cost()
	}
	c.young[key] = o
	c.bytes += o.cost()
	if c.bytes > cacheBytes/2 {
		c.old, c.young, c.bytes = c.young, map[string]*object{}, 0
	}
}

// forget drops an object that was replaced.
func (c *cache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o := c.young[key]; o != nil {
		c.bytes -= o.cost()
		delete(c.young, key)
	}
	delete(c.old, key)
}
