"""The same workloads in graphc and in its peers, each library in a process of its own."""
