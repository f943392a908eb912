"""A small real system for the agent to work on: two deployments, a database, files and outgoing mail.

Standard library only. Everything lies in one folder, which the agent knows as `/workspace`:

    staging/api.json   prod/api.json     what a deployment reads when a replica of it starts
    logs/api.log                         what the replicas write
    secrets/prod.env                     nobody's business
    data/orders.db                       SQLite: customers and orders
    mail/                                a Maildir: what has been sent
    run/                                 where the deployments can be reached
"""
