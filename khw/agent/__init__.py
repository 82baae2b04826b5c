"""
The program that runs on a node, as root, at the far end of one SSH channel.

The operator's side sends the source of these modules through the channel (`khw.agent.bundle`); nothing is installed
on the node. So they use the standard library only, that of Python 3.9, and import nothing else of khw.

    compiled   these modules, kept compiled for the next agent
    wire       frames, the same on both ends
    session    requests in, events out; a dead operator is noticed at once
    processes  children in their own process group, none of which outlives the agent
    relay      artifacts from node to node
    node       what the other modules share: places, records, the session
    fence      one run acts at a time, and nothing of one that is over
    masking    what may be seen of a secret's text
    paths      files and directories: look at them, write them
    units      systemd services
    software   packages and images
    probe      resources as they are now
    act        resources as they should be, one after another
    main       the loop
"""
