package device

// handle names a thing that a driver made: a compiled kernel, an event, a graph.
type handle uintptr

// program is a kernel to be compiled.
type program struct {
	file, text, name string // name is the extern "C" entry point
	options          []string
}

// call is one launch.
type call struct {
	kernel      *Kernel
	grid, block [3]int
	cluster     int // blocks of a cluster along x; 0 or 1 for none
	shared      int // bytes of dynamic shared memory
	args        arguments
}

// arguments are the values of a kernel's parameters, packed: parameter i is the bytes of data from at[i] to at[i+1].
type arguments struct {
	data []byte
	at   []int
}

// driver is what stands behind a Device. All work of one Device is done in order, on one stream. A driver's methods
// are called from one goroutine at a time.
type driver interface {
	info() (Info, error)
	alloc(bytes int64) (uintptr, error)
	free(ptr uintptr) error
	// compile builds a kernel, or finds it in the cache on disk.
	compile(p program) (handle, Resources, error)
	launch(c *call) error
	product(p *Product) error
	// copyIn copies from the host once the queue gets there; src may be reused when copyIn returns.
	copyIn(dst uintptr, src []byte) error
	// copyOut waits for everything before it.
	copyOut(dst []byte, src uintptr) error
	copyWithin(dst, src uintptr, bytes int64) error
	// fill writes words of the given width, 1, 2 or 4 bytes.
	fill(dst uintptr, word uint32, width int, count int64) error
	wait() error

	newEvent() (handle, error)
	record(handle) error
	// elapsed waits for both events and returns the milliseconds between them.
	elapsed(from, to handle) (float64, error)
	freeEvent(handle) error

	// beginCapture makes what follows be recorded instead of run, until endCapture.
	beginCapture() error
	endCapture() (handle, error)
	replay(handle) error
	freeGraph(handle) error

	// tensorMap encodes a tensor map for the bulk copy engine.
	tensorMap(m *TensorMap) ([128]byte, error)
	close() error
}

// Resources is what the compiler says a kernel takes.
type Resources struct {
	Registers int
	Shared    int // static bytes
	Local     int // bytes a thread, of spills and arrays
	// Seconds the compilation took; 0 where it came from the cache.
	Seconds float64
}
