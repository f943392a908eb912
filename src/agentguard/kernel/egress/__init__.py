"""What an agent may reach, held at the network: by address in the kernel, by name in a proxy and a resolver.

Enters: the rules of a `KernelPolicy` about networks, domains and unix sockets, and a cgroup or a network namespace.
Leaves: connections to what is allowed, and a `Denial` for the rest. Called by: `agentguard run`, the sensor. It must
never dial an address that the agent chose for a name, answer for a name that no rule allows, or open when it fails.
"""
