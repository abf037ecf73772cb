package bucket

// CachedBytes is what the objects in memory cost.
func (d *Directory) CachedBytes() int {
	d.cache.mu.RLock()
	defer d.cache.mu.RUnlock()
	n := 0
	for _, generation := range []map[string]*object{d.cache.young, d.cache.old} {
		for _, o := range generation {
			n += o.cost()
		}
	}
	return n
}
