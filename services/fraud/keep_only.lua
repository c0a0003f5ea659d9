-- The listing's photos from a revision on. Of two changes of one revision the one with the greater bytes holds, as in
-- the join. Returns 0 when it is another seller's than the listing.
local listing, seller, revision, change = ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
local known = redis.call('HMGET', prefix .. 'listing:' .. listing, 'removed', 'revision', 'change', 'seller')
if known[1] then return 1 end
if known[4] and known[4] ~= seller then return 0 end
if known[2] then
    local newest = tonumber(known[2])
    if newest > revision or (newest == revision and not before(known[3] or '', change)) then return 1 end
end
redis.call('HSET', prefix .. 'listing:' .. listing, 'revision', ARGV[6], 'change', change, 'seller', seller)
redis.call('DEL', prefix .. 'current:' .. listing)
for i = 8, #ARGV do redis.call('SADD', prefix .. 'current:' .. listing, ARGV[i]) end
for _, sha in ipairs(redis.call('SMEMBERS', prefix .. 'photos:' .. listing)) do
    local name = sha .. '/' .. listing
    local its = tonumber(redis.call('HGET', prefix .. 'photo:' .. name, 'revision') or 0)
    local current = redis.call('SISMEMBER', prefix .. 'current:' .. listing, sha) == 1
    if current or its > revision then
        redis.call('HDEL', prefix .. 'photo:' .. name, 'waiting')
    elseif its == revision then
        -- Yet another change of this revision may have it, and hold.
        redis.call('HSET', prefix .. 'photo:' .. name, 'waiting', '1')
    else
        depart(name)
        redis.call('SREM', prefix .. 'photos:' .. listing, sha)
    end
end
return 1
