package disk

import "math/rand/v2"

// Loss says what becomes, when the power goes, of what was not synced.
type Loss struct {
	name    string
	data    func(n *node) []byte
	entries func(n *node) int // how many of the pending changes happen
}

// String names the loss in a test's report.
func (l Loss) String() string { return l.name }

func none(*node) int    { return 0 }
func every(n *node) int { return len(n.pending) }

func synced(n *node) []byte  { return n.synced }
func written(n *node) []byte { return n.data }

// torn is what was synced, followed by zeros where later data should be: its length has come to the disk
// before it.
func torn(n *node) []byte {
	t := append([]byte{}, n.synced[:min(len(n.synced), len(n.data))]...)
	return append(t, make([]byte, len(n.data)-len(t))...)
}

// Losses are the extremes, and several random ones between them in which every folder and file fares
// differently.
func Losses(random int, seed uint64) []Loss {
	losses := []Loss{
		{"all unsynced lost", synced, none},
		{"nothing lost", written, every},
		{"data lost, entries kept", synced, every},
		{"data torn, entries kept", torn, every},
		{"data kept, entries lost", written, none},
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for range random {
		losses = append(losses, Loss{
			"some lost",
			func(n *node) []byte {
				return []func(*node) []byte{synced, written, torn}[r.IntN(3)](n)
			},
			func(n *node) int { return r.IntN(len(n.pending) + 1) },
		})
	}
	return losses
}

// After is what the disk may hold when the power has gone now.
func (d *Disk) After(l Loss) Tree {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := Tree{}
	t.take("/", d.root, func(n *node) ([]byte, map[string]*node) {
		if !n.isDir {
			return l.data(n), nil
		}
		entries := map[string]*node{}
		for name, child := range n.kept {
			entries[name] = child
		}
		for _, c := range n.pending[:l.entries(n)] {
			for name, child := range c {
				if entries[name] = child; child == nil {
					delete(entries, name)
				}
			}
		}
		return nil, entries
	})
	return t
}
